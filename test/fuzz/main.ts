/**
 * `npm run fuzz`: gives every parser of foreign bytes inputs made from test/corpus, guided by the branches that they take,
 * and writes each that breaks a promise to fuzz-findings/. Options: `--minutes N` for all together (2), or `--inputs N` for
 * each; `--only NAME`; `--seed N` to do the same again; `--limit MS` that one input may take; `--untaken` tells
 * file by file the branches that none took; `--replay FILE`.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { selfTests, targets } from './target.ts';
import type { Figures, Order, Report } from './worker.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string' },
    inputs: { type: 'string' },
    only: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    limit: { type: 'string', default: '10000' },
    replay: { type: 'string' },
    untaken: { type: 'boolean', default: false },
  },
});

const all = { ...targets, ...selfTests };
const names = Object.keys(values.only === undefined ? targets : all).filter(
  (name) => values.only === undefined || name === values.only,
);
if (names.length === 0) throw new RangeError(`--only takes one of ${Object.keys(targets).join(', ')}`);
if (values.replay === undefined) await fuzzAll();
else await replay(values.replay);

async function fuzzAll(): Promise<void> {
  const minutes = Number(values.minutes ?? (values.inputs === undefined ? 2 : 60 * 24));
  let findings = 0;
  let inputs = 0;
  console.log(`seed ${values.seed}`);
  for (const target of names) {
    const result = await fuzz({
      target,
      seed: Number(values.seed),
      inputs: Number(values.inputs ?? Number.MAX_SAFE_INTEGER),
      milliseconds: (minutes * 60_000) / names.length,
      note: new SharedArrayBuffer(8 + 256 * 1024),
    });
    findings += result.findings;
    inputs += result.inputs;
  }
  console.log(`${inputs} inputs, ${findings} findings`);
  process.exitCode = findings > 0 ? 1 : 0;
}

/** Runs one worker to its end, or ends it when one input takes longer than the limit. */
function fuzz(order: Order): Promise<{ inputs: number; findings: number }> {
  const [counter, noted] = [new Int32Array(order.note, 0, 2), Buffer.from(order.note, 8)];
  const current = (): Buffer => Buffer.from(noted.subarray(0, counter[1]));
  const worker = new Worker(new URL('worker.ts', import.meta.url), {
    workerData: order,
    resourceLimits: { maxOldGenerationSizeMb: 1024 },
  });
  const started = performance.now();
  let findings = 0;
  let inputs = 0;
  return new Promise((resolve) => {
    const found = (input: Uint8Array, error: string): void => {
      findings += 1;
      save(order.target, input, error);
    };
    let since = started;
    let last = 0;
    const watch = setInterval(() => {
      const count = Atomics.load(counter, 0);
      if (count !== last) [since, last] = [performance.now(), count];
      else if (count > 0 && performance.now() - since > Number(values.limit)) {
        clearInterval(watch);
        found(current(), `it takes longer than ${values.limit} ms`);
        worker.terminate();
      }
    }, 100);
    worker.on('message', (report: Report) => {
      if (report.kind === 'finding') return found(report.input, report.error);
      inputs = report.inputs;
      console.log(summary(order.target, report.inputs, performance.now() - started, report.figures));
    });
    // It ran out of memory, or something was thrown where nobody could catch it.
    worker.on('error', (error: Error) => found(current(), error.stack ?? String(error)));
    worker.on('exit', () => {
      clearInterval(watch);
      resolve({ inputs: inputs || Atomics.load(counter, 0), findings });
    });
  });
}

function summary(target: string, inputs: number, milliseconds: number, figures: Figures): string {
  const { pool, branches, slowest } = figures;
  const rate = Math.round(inputs / (milliseconds / 1000));
  return (
    `${target}: ${inputs} inputs in ${Math.round(milliseconds / 1000)} s (${rate}/s), ${branches.all.length - branches.untaken.length} of ` +
    `${branches.all.length} branches, ${pool} kept; slowest ${slowest.milliseconds.toFixed(1)} ms (${slowest.length} bytes)` +
    (values.untaken ? untakenByFile(branches) : '')
  );
}

/** A line for each file of which something was taken: how many of its branches, and the lines of the others. */
function untakenByFile({ all, untaken }: Figures['branches']): string {
  const of = (places: readonly string[]) => Map.groupBy(places, (place) => place.split(':')[0] ?? '');
  const missing = of(untaken);
  return [...of(all)]
    .map(([file, places]) => ({ file, of: places.length, untaken: missing.get(file) ?? [] }))
    .filter(({ of, untaken }) => untaken.length < of)
    .map(({ file, of, untaken }) => {
      const lines = [...new Set(untaken.map((place) => place.split(':')[1]))];
      return `\n  ${file}: ${of - untaken.length} of ${of}${lines.length > 0 ? `, not in ${lines.join(' ')}` : ''}`;
    })
    .join('');
}

function save(target: string, input: Uint8Array, error: string): void {
  mkdirSync('fuzz-findings', { recursive: true });
  const file = `fuzz-findings/${target}-${createHash('sha256').update(input).digest('hex').slice(0, 12)}.bin`;
  writeFileSync(file, input);
  console.log(`FINDING in ${target}, an input of ${input.length} bytes\n${error}`);
  console.log(`again: npm run fuzz -- --only ${target} --replay ${file}\n`);
}

/** Tries one input in this thread, where a debugger can look; its name tells the parser if `--only` does not. */
async function replay(file: string): Promise<void> {
  const name = values.only ?? names.find((target) => basename(file).startsWith(target));
  const load = all[name ?? ''];
  if (load === undefined) throw new RangeError('say with --only which parser it is for');
  const { target } = await load();
  await target.check(readFileSync(file));
  console.log(`${target.name}: nothing wrong with it`);
}
