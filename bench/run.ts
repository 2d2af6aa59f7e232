/**
 * Micro-benchmarks: `npm run bench -- [--short] [--json] [--save] [FILE…]`. Each module of bench/micro adds its tasks to one
 * bench. FILE is a module's name without `.ts`; `--short` measures too little to be quoted, and shows that every task still
 * runs. `--save` keeps the figures as the baseline that later runs are compared with (bench/results/micro.json): on the same
 * machine only.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { Bench, type Task } from 'tinybench';

type Module = { readonly addTo: (bench: Bench) => void };
type Row = {
  readonly task: string;
  readonly opsPerSecond: number;
  readonly meanNs: number;
  readonly p99Ns: number;
  /** Relative margin of error of the mean, in percent. */
  readonly margin: number;
};

const { values, positionals } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});

const baselineFile = new URL('./results/micro.json', import.meta.url).pathname;
const bench = new Bench({
  subtractTimerOverhead: true,
  throws: true,
  ...(values.short ? { time: 5, iterations: 10, warmupTime: 1, warmupIterations: 5 } : { time: 500 }),
});
for (const file of chosenFiles(positionals)) {
  const { addTo } = (await import(`./micro/${file}`)) as Module;
  addTo(bench);
}
if (!values.json)
  process.stdout.write(`${bench.tasks.length} tasks on ${bench.runtime} ${bench.runtimeVersion}\n`);
await bench.run();
const rows = bench.tasks.map(measured);
const here = `${cpus()[0]?.model ?? 'unknown'}, ${bench.runtime} ${bench.runtimeVersion}`;
const before = values.json ? undefined : readBaseline();
process.stdout.write(values.json ? `${JSON.stringify(rows, null, 2)}\n` : table(rows, before));
if (values.save) saveBaseline(rows);

function chosenFiles(names: readonly string[]): string[] {
  const files = readdirSync(new URL('./micro/', import.meta.url)).filter((file) => file.endsWith('.ts'));
  const unknown = names.find((name) => !files.includes(`${name}.ts`));
  if (unknown !== undefined) {
    const known = files.map((file) => file.slice(0, -'.ts'.length)).join(', ');
    process.stderr.write(`bench/micro has no ${unknown}; it has ${known}\n`);
    process.exit(2);
  }
  return names.length === 0 ? files : names.map((name) => `${name}.ts`);
}

function measured({ name, result }: Task): Row {
  if (result.state !== 'completed') throw new Error(`${name}: ${result.state}`);
  const { latency } = result;
  return {
    task: name,
    // Calls by time spent in them; the mean of each call's own rate would flatter the spread.
    opsPerSecond: Math.round(1000 / latency.mean),
    meanNs: latency.mean * 1e6,
    p99Ns: latency.p99 * 1e6,
    margin: latency.rme,
  };
}

type Baseline = { readonly machine: string; readonly meanNs: Readonly<Record<string, number>> };

/** Means by task; figures of another machine or runtime would say nothing. */
function readBaseline(): Baseline['meanNs'] | undefined {
  if (values.short || !existsSync(baselineFile)) return undefined;
  const { machine, meanNs } = JSON.parse(readFileSync(baselineFile, 'utf8')) as Baseline;
  return machine === here ? meanNs : undefined;
}

/** What was not measured this time keeps its figure. */
function saveBaseline(all: readonly Row[]): void {
  const measuredNow = Object.fromEntries(all.map(({ task, meanNs }) => [task, Math.round(meanNs)]));
  const baseline: Baseline = { machine: here, meanNs: { ...readBaseline(), ...measuredNow } };
  mkdirSync(dirname(baselineFile), { recursive: true });
  writeFileSync(baselineFile, `${JSON.stringify(baseline, null, 2)}\n`);
}

function against(before: Baseline['meanNs'] | undefined, { task, meanNs }: Row): string {
  const was = before?.[task];
  return was === undefined ? '' : `${(meanNs / was).toFixed(2)}×`;
}

function table(all: readonly Row[], before: Baseline['meanNs'] | undefined): string {
  const lines = [
    ['task', 'ops/s', 'mean', 'p99', '±', before ? 'to baseline' : ''],
    ...all.map((row) => [
      row.task,
      row.opsPerSecond.toLocaleString('en-GB'),
      duration(row.meanNs),
      duration(row.p99Ns),
      `${row.margin.toFixed(1)}%`,
      against(before, row),
    ]),
  ];
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  const pad = (cell: string, column: number): string =>
    column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!);
  return `${lines.map((line) => line.map(pad).join('  ')).join('\n')}\n`;
}

function duration(ns: number): string {
  return ns < 1000 ? `${ns.toFixed(0)} ns` : `${(ns / 1000).toFixed(ns < 10_000 ? 2 : 1)} µs`;
}
