/**
 * What is shipped is bundled: each program is a file without other packages, which runs where there is no node_modules, and whose
 * licences and bill of materials name all that is in it. Nothing in `src/` looks for its files except process/own-files.ts, since a
 * bundle has them elsewhere.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { bundle, sources, version } from '../../.ci/build/bundle.ts';
import { writeLicences } from '../../.ci/build/parts.ts';
import { writeSbom } from '../../.ci/build/sbom.ts';
import { temporaryDirectory } from '../support/certificates.ts';

test('a bundle runs on its own, and says what is in it', async (t) => {
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }');
  const parts = await bundle(sources, directory, { splitting: true });
  const main = join(directory, 'main.js');
  const said = execFileSync(process.execPath, [main, '--version'], { encoding: 'utf8' });
  assert.equal(said.split('\n')[0], version);
  execFileSync(process.execPath, [main, 'pki', 'init', join(directory, 'pki')]);
  const code = globSync('*.js', { cwd: directory }).map((file) =>
    readFileSync(join(directory, file), 'utf8'),
  );
  const imported = code.flatMap((text) => [...text.matchAll(/(?:^|[;}])import[^"'`()]*"([^"]+)"/g)]);
  const foreign = imported.map(([, name]) => name).filter((name) => !/^(node:|\.\/)/.test(name ?? ''));
  assert.deepEqual(foreign, []);

  assert.ok(parts.some(({ name }) => name === 'zod'));
  const [licences, sbom] = [join(directory, 'licences.txt'), join(directory, 'sbom.json')];
  writeLicences(parts, licences);
  writeSbom({ name: 'penstock', version }, parts, sbom);
  const text = readFileSync(licences, 'utf8');
  const { components } = JSON.parse(readFileSync(sbom, 'utf8'));
  assert.equal(components.length, parts.length);
  for (const { name, version: own, license } of parts) {
    assert.ok(text.includes(`${name} ${own} (${license})`), name);
    const component = components.find((one: { name: string }) => one.name === name);
    assert.match(component.hashes[0].content, /^[0-9a-f]{128}$/, name);
  }
});

test('only one module looks for files of penstock', () => {
  const root = resolve(import.meta.dirname, '../..');
  /** The version and the page of a checkout; what writes the documentation. */
  const others = [
    'process/version.ts',
    'observe/assemble-page.ts',
    'observe/log-reference.ts',
    'config/schema/reference.ts',
  ];
  const found = globSync('**/*.ts', { cwd: join(root, 'src') }).filter((file) =>
    /import\.meta\.(url|dirname|filename|resolve)/.test(readFileSync(join(root, 'src', file), 'utf8')),
  );
  assert.deepEqual(found.sort(), ['process/own-files.ts', ...others].sort());
});
