/**
 * How much of the built package works on Bun, which is not promised: `node test/matrix/bun.ts [--in DIRECTORY] [NAME…]`. Runs
 * each test file by `bun test`, a minute at most, and prints the files in which something failed, and the sums. Exits with 0:
 * it tells, and judges nothing. With a DIRECTORY, what an earlier run (of this, or of run.ts) has installed there is used again.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { notOfThePackage } from './exceptions.ts';
import { install, makeWorkspace } from './workspace.ts';

const { values, positionals } = parseArgs({ options: { in: { type: 'string' } }, allowPositionals: true });
const directory = resolve(values.in ?? mkdtempSync(join(tmpdir(), 'penstock-bun-')));

type Outcome = {
  readonly file: string;
  readonly passed: number;
  readonly failed: readonly string[];
  /** Why it ended, where that was not by itself. */
  readonly end: string | undefined;
};

const work = makeWorkspace(directory);
const bun = installBun();
const files = readdirSync(join(work, 'test'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.js'))
  .filter((file) => !notOfThePackage.some((name) => basename(file).startsWith(name)))
  .filter(
    (file) => positionals.length === 0 || positionals.some((start) => basename(file).startsWith(start)),
  );
const outcomes: Outcome[] = [];
const waiting = [...files];
await Promise.all([runThem(), runThem()]);
const sum = (count: (outcome: Outcome) => number) => outcomes.reduce((all, one) => all + count(one), 0);
process.stdout.write(
  `${await text(spawn(bun, ['--version']).stdout)}` +
    `${sum(({ passed }) => passed)} passed, ${sum(({ failed }) => failed.length)} failed; of ${files.length} files ` +
    `${sum(({ failed, end }) => (failed.length === 0 && end === undefined ? 1 : 0))} passed whole, ` +
    `${sum(({ end }) => (end === undefined ? 0 : 1))} did not end by themselves\n`,
);

async function runThem(): Promise<void> {
  for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
    const outcome = await runOne(file);
    outcomes.push(outcome);
    const { passed, failed, end } = outcome;
    if (failed.length === 0 && end === undefined) continue;
    process.stdout.write(`${file}: ${passed} passed, ${failed.length} failed${end ? `, ${end}` : ''}\n`);
    for (const line of failed) process.stdout.write(`  ${line}\n`);
  }
}

async function runOne(file: string): Promise<Outcome> {
  const child = spawn(bun, ['test', '--timeout', '15000', `./test/${file}`], {
    cwd: work,
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  const ended = new Promise<string | undefined>((done) =>
    child.once('exit', (_, signal) => done(signal ?? undefined)),
  );
  const output = await text(child.stderr);
  const signal = await ended;
  const failed = [...output.matchAll(/^\(fail\) (.*?)(?: \[[\d.]+m?s\])?$/gm)].map(([, name = '']) => name);
  const passed = [...output.matchAll(/^\(pass\) /gm)].length;
  const unhandled = /^error: (?:Cannot find|Unhandled|SyntaxError|Export named).*$/m.exec(output)?.[0];
  const end = signal === 'SIGKILL' ? 'over a minute' : signal;
  return {
    file,
    passed,
    failed,
    end: end ?? (passed + failed.length === 0 ? (unhandled ?? 'no test ran') : undefined),
  };
}

function installBun(): string {
  const place = join(directory, 'bun');
  const program = join(place, 'node_modules/.bin/bun');
  if (!existsSync(program)) {
    mkdirSync(place, { recursive: true });
    writeFileSync(
      join(place, 'package.json'),
      JSON.stringify({ private: true, allowScripts: { bun: true } }),
    );
    install(place, ['bun']);
  }
  return program;
}
