/**
 * README.md's "Use it", pasted as it stands into a terminal: certificates, configuration, `check` without a warning, `explain`, and
 * `run` until it is ready. Each way to authenticate clients loads in its place there, and what docs/getting-started.md puts together
 * is what `penstock pki` has printed.
 */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { parse, stringify } from 'yaml';
import { loadConfig } from '../../src/config/sources/file.ts';
import { temporaryDirectory } from '../support/certificates.ts';
import { isReady, penstockMain, penstockOf } from '../support/penstock.ts';
import { yamlIn } from '../support/pki.ts';

const root = resolve(import.meta.dirname, '../..');

/** The blocks of a page in this language, in order. */
function blocksOf(page: string, language: string): string[] {
  const text = readFileSync(join(root, page), 'utf8');
  return [...text.matchAll(new RegExp(`^\`{3}${language}\\n(.*?)^\`{3}`, 'gms'))].map(
    (match) => match[1] ?? '',
  );
}

/** Commands as somebody would paste them; `npm run -s penstock --` and `penstock` are those of this checkout. */
function pasted(script: string): string {
  const penstock = `penstock() { '${process.execPath}' '${penstockMain}' "$@"; }`;
  return `set -e\n${penstock}\n${script.replaceAll('npm run -s penstock --', 'penstock')}`;
}

async function paste(directory: string, script: string): Promise<string> {
  const { stdout } = await promisify(execFile)('/bin/sh', ['-c', pasted(script)], { cwd: directory });
  return stdout;
}

describe('"Use it"', () => {
  const [configuration = '', ...fragments] = blocksOf('README.md', 'yaml');
  const [certificates = '', commands = ''] = blocksOf('README.md', 'sh').filter((block) =>
    block.startsWith('npm run -s penstock'),
  );

  async function prepare(t: TestContext): Promise<string> {
    const directory = temporaryDirectory(t);
    await paste(directory, certificates);
    writeFileSync(join(directory, 'penstock.yaml'), configuration);
    return directory;
  }

  test('the commands do what they say', async (t) => {
    const directory = await prepare(t);
    const last = /^.* -- run\n$/m;
    assert.match(commands, last);
    const answered = await paste(directory, commands.replace(last, ''));
    assert.match(answered, /databases/);
    assert.doesNotMatch(answered, /warning/i);
    assert.match(answered, /10\.0\.1\.5:5432/);
    const run = /^.* -- (run)\n$/m.exec(commands)?.[1] ?? '';
    const child = spawn(process.execPath, [penstockMain, run, '--workers', '1'], { cwd: directory });
    t.after(() => child.kill('SIGKILL'));
    const penstock = penstockOf(child, directory);
    await isReady(penstock);
    child.kill('SIGTERM');
    assert.equal(await penstock.exited, 0);
  });

  test('each way to authenticate clients loads in its place', async (t) => {
    const directory = await prepare(t);
    writeFileSync(join(directory, 'only-office-hours.ts'), 'export default () => true;');
    assert.equal(fragments.length, 2);
    for (const fragment of fragments) {
      const whole = parse(configuration);
      Object.assign(whole.listeners.databases.routes[0].tls, parse(fragment));
      const file = join(directory, 'penstock.yaml');
      writeFileSync(file, stringify(whole));
      const { config, warnings } = await loadConfig(file);
      assert.deepEqual(warnings, []);
      const tls = config.listeners['databases']?.routes[0]?.tls;
      assert.equal(typeof tls === 'object' && tls.client_auth?.mode, 'require');
    }
  });
});

test('getting started has the names that `penstock pki` prints', async (t) => {
  const directory = temporaryDirectory(t);
  const script = blocksOf('docs/getting-started.md', 'sh').find((block) => block.includes('pki init')) ?? '';
  const said = await paste(directory, script);
  const printed = yamlIn(said.replace(/^made/gm, '\nmade')) as Record<string, unknown>[];
  const configuration = parse(blocksOf('docs/getting-started.md', 'yaml')[0] ?? '');
  const [route] = configuration.listeners.database.routes;
  const sections = printed.filter((block) => !('tls' in block));
  assert.equal(sections.length, 3);
  const used = sections.filter((block) => !JSON.stringify(block).includes('orders'));
  for (const block of used) assert.deepEqual({ ...configuration, ...block }, configuration);
  for (const { tls } of printed.filter((block) => 'tls' in block))
    assert.deepEqual({ ...route.tls, ...(tls as object) }, route.tls);
});
