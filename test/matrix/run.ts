/**
 * Tests the built package on each runtime: `npm run test:matrix [-- --node VERSION… --shard I/N --in DIRECTORY NAME…]`. Packs
 * and installs the package, compiles the tests, fetches each Node from npm, runs all tests on it (or those whose file's name
 * begins with NAME), and prints what failed and what that version cannot do. Exits with 1 if something failed that
 * exceptions.ts does not explain. With a DIRECTORY, what an earlier run has installed there is used again.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { type Exception, excuse, notOfThePackage } from './exceptions.ts';
import type { Result } from './reporter.ts';
import { installNode, nodeVersions, type Runtime } from './runtimes.ts';
import { makeWorkspace } from './workspace.ts';

const { values, positionals } = parseArgs({
  options: {
    node: { type: 'string', multiple: true, default: [...nodeVersions] },
    shard: { type: 'string', default: '1/1' },
    in: { type: 'string' },
  },
  allowPositionals: true,
});
process.exitCode = await main();

async function main(): Promise<number> {
  const directory = resolve(values.in ?? mkdtempSync(join(tmpdir(), 'penstock-matrix-')));
  const work = makeWorkspace(directory);
  let ok = true;
  for (const version of values.node) {
    const runtime = installNode(directory, version);
    const results = await runTests(runtime, work);
    ok = print(runtime, results) && ok;
  }
  if (values.in === undefined) rmSync(directory, { recursive: true });
  return ok ? 0 : 1;
}

/** The suite on this runtime, a process a file, all processes that the tests start on the same. */
async function runTests({ program }: Runtime, cwd: string): Promise<Result[]> {
  const files = testFiles(cwd);
  const args = ['--test', '--test-concurrency=2', '--test-timeout=300000', `--test-shard=${values.shard}`];
  const reporter = ['--test-reporter=./test/matrix/reporter.js', '--test-reporter-destination=stdout'];
  const child = spawn(program, [...args, ...reporter, ...files], {
    cwd,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const output = await text(child.stdout);
  const results = output.split('\n').filter(Boolean);
  if (results.length === 0) throw new Error(`${program} has run no test`);
  return results.map((line) => JSON.parse(line));
}

function testFiles(work: string): string[] {
  return readdirSync(join(work, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.js'))
    .filter((file) => !notOfThePackage.some((name) => basename(file).startsWith(name)))
    .filter(
      (file) => positionals.length === 0 || positionals.some((start) => basename(file).startsWith(start)),
    )
    .map((file) => join('test', file));
}

/** Whether all is well. */
function print({ version, openssl }: Runtime, results: readonly Result[]): boolean {
  const failures = results.filter((result) => result.outcome === 'fail' && isOwnFailure(result, results));
  const faults = failures.filter((failure) => !excuse(failure, version));
  const excused = new Map<Exception, number>();
  for (const failure of failures) {
    const exception = excuse(failure, version);
    if (exception) excused.set(exception, (excused.get(exception) ?? 0) + 1);
  }
  const passed = results.filter(({ outcome }) => outcome === 'pass').length;
  const skipped = results.filter(({ outcome }) => outcome === 'skip').length;
  const lines = [
    `Node ${version} (OpenSSL ${openssl}): ${passed} passed, ${failures.length - faults.length} cannot, ` +
      `${skipped} skipped, ${faults.length} failed`,
    ...[...excused].map(([{ file, because }, count]) => `  cannot (${count}): ${file}: ${because}`),
    ...faults.map(({ file, name, error }) => `  failed: ${file}: ${name}\n${indent(error)}`),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
  return faults.length === 0;
}

/** A test around one that fails does so, too, and so does its file: no news, unless that is all that is known. */
function isOwnFailure({ file, name, error = '' }: Result, results: readonly Result[]): boolean {
  if (/^\d+ subtests? failed/.test(error)) return false;
  const isFile = name.endsWith(file);
  return !isFile || !results.some((one) => one.file === file && one.outcome === 'fail' && one.name !== name);
}

function indent(error = ''): string {
  return error
    .split('\n')
    .slice(0, 8)
    .map((line) => `      ${line}`)
    .join('\n');
}
