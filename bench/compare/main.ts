/** `npm run bench:compare`: penstock beside HAProxy, nginx, stunnel and hitch; see docs/performance.md. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join, relative } from 'node:path';
import { measureChanges, renderChanges } from './changes.ts';
import { renderChart } from './chart.ts';
import { describeMachine } from './machine.ts';
import { betweenMarkers, renderMarkdown, renderReadme } from './markdown.ts';
import { aloneAs, measureWorkload, type Sample, warmUp } from './measure.ts';
import { type Options, parseOptions, usage } from './options.ts';
import { penstockMain } from './peer-penstock.ts';
import { checkout, findPeer } from './peers.ts';
import { startDatabase } from './postgres.ts';
import { type Missing, type PeerRecord, type Results, type Row, rowOf } from './results.ts';
import { measureScaling } from './scaling.ts';
import { type Cores, type Ground, prepareGround, type RunningPeer, startPeer } from './site.ts';
import { connectionsOf, type Workload } from './workloads.ts';

const results = join(checkout, 'bench/results');

// `process.exit` runs what ends the processes that were started and removes their files.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

process.exit(await main());

async function main(): Promise<number> {
  let options: Options | undefined;
  try {
    options = parseOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    return 2;
  }
  if (options === undefined) {
    process.stdout.write(usage);
    return 0;
  }
  mkdirSync(results, { recursive: true });
  const cores = chooseCores(options.pin);
  if (options.scaling || options.changes) {
    const table = options.scaling ? await measureScaling(options, cores, tell) : '';
    const rows = await measureChanges(options, {
      penstock: penstockOf(options),
      haproxy: haproxyOf(options),
    });
    const text = table + renderChanges(rows);
    const name = options.share === 1 && options.scaling ? 'scaling' : 'partial.scaling';
    save(`${name}.md`, text);
    save(
      `${name}.json`,
      `${JSON.stringify({ machine: describeMachine(), rounds: options.rounds, rows }, null, 2)}\n`,
    );
    process.stdout.write(text);
    return 0;
  }
  return report(await compare(options, cores), options);
}

/** The file that is run. */
function penstockOf({ peers }: Options): string {
  return penstockMain(peers.find(({ kind }) => kind === 'penstock')?.path ?? checkout);
}

/** undefined if it is not installed: the rows then have no peer. */
function haproxyOf({ peers }: Options): string | undefined {
  const spec = peers.find(({ kind }) => kind === 'haproxy');
  try {
    return spec && findPeer(spec).path;
  } catch {
    return undefined;
  }
}

async function compare(options: Options, cores: Cores): Promise<Results> {
  const missing: Missing[] = [];
  const leaveOut = (name: string, error: unknown): [] => {
    const reason = (error as Error).message;
    missing.push({ name, reason });
    tell(`${name} is left out: ${reason}\n`);
    return [];
  };
  const peers = options.peers.flatMap((spec) => {
    try {
      return [findPeer(spec)];
    } catch (error) {
      return leaveOut(spec.name, error);
    }
  });
  const names = peers.map(({ name }) => name);
  const ground = await prepareGround([...names, ...names.map(aloneAs)], cores);
  const needsDatabase = ({ front }: Workload) => front === 'postgres';
  const database = options.workloads.some(needsDatabase)
    ? await startDatabase(ground).catch((error) => void leaveOut('pgbench', error))
    : undefined;
  const workloads = options.workloads.filter((workload) => database || !needsDatabase(workload));
  const running: RunningPeer[] = [];
  for (const peer of peers) {
    await startPeer(peer, ground).then(
      (one) => running.push(one),
      (error) => leaveOut(peer.name, error),
    );
  }
  const rows = await measureRows(running, ground, { ...options, workloads });
  await database?.stop();
  return {
    date: new Date().toISOString(),
    machine: describeMachine(),
    rounds: options.rounds,
    share: options.share,
    pinned: cores.peers !== undefined,
    baseline: options.baseline,
    peers: running.map(recordOf),
    missing,
    rows,
  };
}

async function measureRows(
  running: readonly RunningPeer[],
  ground: Ground,
  options: Options,
): Promise<Row[]> {
  const kind = running.find(({ peer }) => peer.name === options.baseline)?.peer.kind;
  const rows: Row[] = [];
  tell('warming up\n');
  for (const one of running) await warmUp(one, { ...options, ground });
  for (const workload of options.workloads) {
    tell(`${workload.title}\n`);
    const onSample = (name: string, sample: Sample | string) =>
      tell(`  ${name.padEnd(12)} ${progress(workload, sample)}\n`);
    const outcomes = await measureWorkload(workload, running, { ...options, ground, onSample });
    const connections = connectionsOf(workload, options.share);
    rows.push(rowOf(workload, connections, outcomes, { name: options.baseline, kind }));
  }
  return rows;
}

/** Writes the files and, if asked to, the README's table. A run that is not whole never replaces the latest results. */
function report(outcome: Results, { whole, writeReadme }: Options): number {
  const name = whole ? 'latest' : 'partial';
  const markdown = renderMarkdown(outcome).replaceAll('latest.svg', `${name}.svg`);
  save(`${name}.json`, `${JSON.stringify(outcome, null, 1)}\n`);
  save(`${name}.svg`, renderChart(outcome));
  save(`${name}.md`, markdown);
  process.stdout.write(`\n${markdown}\n`);
  if (!writeReadme) return 0;
  if (!whole) {
    tell(
      'README.md stays as it is: this run is not whole (all peers, all workloads, at least 5 rounds, not --quick)\n',
    );
    return 1;
  }
  const readme = join(checkout, 'README.md');
  writeFileSync(readme, betweenMarkers(readFileSync(readme, 'utf8'), renderReadme(outcome)));
  return 0;
}

function recordOf({ peer, prepared }: RunningPeer): PeerRecord {
  const { name, kind, version, library } = peer;
  return { name, kind, version, library, logs: prepared.logs };
}

/** Two cores, one for peers and one for the load: on one, or without pinning, they would disturb each other. */
function chooseCores(pin: boolean): Cores {
  return pin && cpus().length >= 2 ? { peers: 0, load: 1 } : { peers: undefined, load: undefined };
}

function progress({ unit }: Workload, sample: Sample | string): string {
  if (typeof sample === 'string') return `failed: ${sample}`;
  const figure =
    unit === 'idle connection'
      ? `${(sample.perUnit / 1024).toFixed(1)} KiB`
      : `${(sample.perUnit / 1e3).toFixed(1)} µs`;
  return `round ${sample.round}: ${figure} a ${unit}`;
}

function save(name: string, text: string): void {
  const file = join(results, name);
  writeFileSync(file, text);
  tell(`${relative(process.cwd(), file)}\n`);
}

function tell(text: string): void {
  process.stderr.write(text);
}
