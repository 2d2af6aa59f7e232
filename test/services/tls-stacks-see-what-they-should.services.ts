/**
 * TLS stacks that are not ours, each by a small client in clients/: full and resumed handshakes, a client certificate, a stranger's, none,
 * a HelloRetryRequest, a KeyUpdate, a reset behind the payload; TLS 1.2 and 1.3. What each client saw, what penstock logged of it and how
 * it ended at the upstream are what tls-stacks-expectations.ts says, and so is the table in docs/testing.md.
 * With PENSTOCK_WRITE=1 that table is written.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import {
  type Case,
  cases,
  runClient,
  type Stack,
  stacks,
  type Version,
  versionOf,
  versions,
} from './tls-stacks.ts';
import { heading, notFor, row, today } from './tls-stacks-expectations.ts';
import { type Scene, startScene } from './tls-stacks-scene.ts';
import { logged, seenBy } from './tls-stacks-words.ts';

const page = join(import.meta.dirname, '../../docs/testing.md');

test('what they see, what is logged, and how it ends upstream', { concurrency: 2 }, async (t) => {
  const scene = await startScene(t);
  await Promise.all(stacks.map((stack) => t.test(stack.name, (inner) => walk(inner, stack, scene))));
});

test('docs/testing.md says the same', async () => {
  const rows: string[] = [];
  for (const stack of stacks) {
    const installed = await versionOf(stack);
    for (const version of versions) rows.push(row(stack, installed, version));
  }
  const text = readFileSync(page, 'utf8');
  const [before = '', ...rest] = text.split(`${heading}\n`);
  assert.equal(rest.length, 1, `the table begins with ${heading}`);
  const [ruler = '', ...lines] = (rest[0] ?? '').split('\n');
  const length = lines.findIndex((line) => !line.startsWith('|'));
  if (process.env['PENSTOCK_WRITE'])
    writeFileSync(page, `${before}${[heading, ruler, ...rows, ...lines.slice(length)].join('\n')}`);
  // Other machines may have other versions of them.
  else assert.deepEqual(lines.slice(0, length).map(withoutVersion), rows.map(withoutVersion));
});

async function walk(t: TestContext, stack: Stack, scene: Scene): Promise<void> {
  const directory = join(scene.directory, stack.name.replace(' ', '-'));
  mkdirSync(directory);
  await stack.make(directory);
  for (const version of versions) {
    for (const what of cases) {
      const reason = notFor(stack, what, version);
      if (reason === undefined)
        await t.test(`TLS ${version}, ${what}`, () => look(stack, what, version, directory, scene));
      else t.diagnostic(`TLS ${version}, ${what}: ${reason}`);
    }
  }
}

async function look(
  stack: Stack,
  what: Case,
  version: Version,
  directory: string,
  scene: Scene,
): Promise<void> {
  const { seen, logged: lines, upstream } = today(stack, what, version);
  const name = `${stack.name}-${version.replace('.', '')}-${what}.example.test`
    .toLowerCase()
    .replaceAll(' ', '-');
  const words = { name, version, ...scene.ca(stack), ...particulars(stack, what, scene) };
  const { stdout, stderr } = await runClient(stack, directory, words).finished;
  const said = `${stdout}${stderr}`;
  assert.deepEqual(seenBy(stdout), seen, said);
  const log = () => scene.proxy.log.filter((line) => line.msg === 'connection' && line['sni'] === name);
  await eventually(() => assert.equal(log().length, lines.length), 20_000);
  const wanted = logged(log()).map((line, index) => {
    const pattern = lines[index];
    return pattern instanceof RegExp && pattern.test(line) ? pattern : line;
  });
  assert.deepEqual(wanted, lines, said);
  if (what === 'reset')
    assert.ok(
      scene.endsOf(name).every((end) => end.endsWith('a reset')),
      scene.endsOf(name).join(),
    );
  else await eventually(() => assert.deepEqual(scene.endsOf(name), upstream), 20_000);
  if (what === 'retry') assert.equal(scene.retry.requests(name), 1);
}

/** The words for a client that a case needs. */
function particulars(stack: Stack, what: Case, scene: Scene): Record<string, string | number> {
  const [open, mutual] = [{ port: scene.proxy.port('open') }, { port: scene.proxy.port('mutual') }];
  switch (what) {
    case 'resumed':
      return { ...open, connections: 4 };
    case 'certificate':
      return { ...mutual, connections: 2, ...scene.certificate(stack, 'client') };
    case 'stranger':
      return { ...mutual, ...scene.certificate(stack, 'stranger') };
    case 'nobody':
      return mutual;
    case 'retry':
      return { port: scene.retry.port };
    case 'key update':
      return { ...open, do: 'keyupdate', bytes: 65_536 };
    case 'reset':
      return { ...open, do: 'reset' };
    case 'full':
      return open;
  }
}

function withoutVersion(line: string): string {
  return line.replace(/^\| (\D+?) [\d.]+ /, '| $1 ');
}
