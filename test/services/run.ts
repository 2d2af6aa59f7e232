/**
 * Runs the tests against real services: `npm run test:services [-- --available] [NAME…]`. Programs that are missing end it
 * with code 2 and a word on how to get them; with `--available` only what they are needed for is left out. NAME is the
 * beginning of a test file's name.
 */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { find, installHint, neededBy } from './programs.ts';

const suffix = '.services.ts';
const { values, positionals } = parseArgs({
  options: { available: { type: 'boolean', default: false } },
  allowPositionals: true,
});
/** These mostly wait: for etcd to be missed, for leases to end, for a rotation. */
const patient: ReadonlySet<string> = new Set([
  'a-cluster-outlives-what-happens-to-etcd',
  'a-limit-holds-across-machines',
  'a-watch-loses-nothing',
  'authors-change-a-cluster-by-commands',
  'machines-serve-what-etcd-holds',
  'three-machines-serve-as-one',
]);

process.exitCode = await main();

async function main(): Promise<number> {
  const chosen = testNames().filter(
    (name) => positionals.length === 0 || positionals.some((start) => name.startsWith(start)),
  );
  const possible = chosen.filter((name) => missingFor(name).length === 0);
  for (const name of chosen) {
    const missing = missingFor(name);
    if (missing.length > 0) process.stderr.write(`${name} needs ${missing.join(', ')}\n`);
  }
  if (possible.length < chosen.length) {
    process.stderr.write(`To install what is missing: ${installHint}\n`);
    if (!values.available) return 2;
  }
  if (possible.length === 0) {
    process.stderr.write('There is nothing to run.\n');
    return 2;
  }
  const fileOf = (name: string) => join(import.meta.dirname, name + suffix);
  const alone = possible.filter((name) => !patient.has(name)).map(fileOf);
  const together = possible.filter((name) => patient.has(name)).map(fileOf);
  // Databases and 1 GB copies side by side only get in each other's way.
  return (await runTests(alone, 1)) || (await runTests(together, 2));
}

function testNames(): string[] {
  const names = readdirSync(import.meta.dirname)
    .filter((file) => file.endsWith(suffix))
    .map((file) => file.slice(0, -suffix.length));
  const unknown = names.find((name) => neededBy[name] === undefined);
  if (unknown !== undefined) throw new Error(`programs.ts does not say what ${unknown} needs`);
  return names;
}

function missingFor(name: string): string[] {
  return (neededBy[name] ?? []).filter((program) => find(program) === undefined);
}

/** Node's own runner, a process a file, so many at once; its exit code. */
function runTests(files: readonly string[], concurrency: number): Promise<number> {
  if (files.length === 0) return Promise.resolve(0);
  const args = [
    '--disable-sigusr1',
    '--test',
    '--test-reporter=spec',
    `--test-concurrency=${concurrency}`,
    ...files,
  ];
  const child = spawn(process.execPath, args, { stdio: 'inherit' });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
