/** How penstock grows: with workers, open connections and names. One table. */
import { setTimeout as sleep } from 'node:timers/promises';
import { holdConnections } from './load.ts';
import { describeMachine } from './machine.ts';
import { machineLine, table } from './markdown.ts';
import { cpuSample, type Sample, settledMemory } from './measure.ts';
import type { Options } from './options.ts';
import type { PenstockOptions } from './peer-penstock.ts';
import { findPeer, type Peer } from './peers.ts';
import { cpuOf } from './processes.ts';
import { type Cores, type Ground, prepareGround, type RunningPeer, startPeer, stopPeer } from './site.ts';
import { median, rotated, summarise } from './statistics.ts';
import { workloads } from './workloads.ts';

const workerCounts = [1, 2, 4];
const openCounts = [100, 1000, 3000, 9000, 20_000];
const nameCounts = [10, 1000, 100_000];

/** A row of the table; what was not measured is absent. */
type Line = {
  readonly what: string;
  readonly microseconds?: string;
  readonly perSecond?: number;
  readonly memory?: number;
  readonly perConnection?: number;
  readonly idleMs?: number;
  readonly reload?: Reload;
  readonly startMs?: number;
};

type Reload = { readonly ms: number; readonly cpuMs: number };

const handshakes = workloads.find(({ id }) => id === 'full-ecdsa')!;
const idle = workloads.find(({ id }) => id === 'memory')!;

/** Measures, and renders as Markdown. The first of the peers that is a penstock is the one that is measured. */
export async function measureScaling(
  options: Options,
  cores: Cores,
  tell: (text: string) => void,
): Promise<string> {
  const spec = options.peers.find(({ kind }) => kind === 'penstock');
  if (spec === undefined) throw new Error('--scaling measures penstock, and there is none among the peers');
  const variant = (name: string, changes: Partial<PenstockOptions>) => findPeer({ ...spec, name }, changes);
  const byWorkers = workerCounts.map((workers) => variant(`workers-${workers}`, { workers }));
  const byNames = nameCounts.map((names) => variant(`names-${names}`, { names }));
  const open = variant('open', {});
  const names = [...byWorkers, ...byNames, open].map(({ name }) => name);
  const ground = await prepareGround(names, cores);
  const lines: Line[] = [];
  const add = (line: Line) => {
    lines.push(line);
    tell(`  ${cellsOf(line).join('  ')}\n`);
  };
  // Workers take whatever core is free: that is what there is to see. All else is measured as in the comparison.
  const anywhere = { ...ground, cores: { ...cores, peers: undefined } };
  for (const line of await handshakesBy(byWorkers, anywhere, options)) add(line);
  for (const line of await handshakesBy(byNames, ground, options)) add(line);
  for (const line of await byOpenConnections(open, ground, options)) add(line);
  return render(options, open, lines);
}

/** CPU a connection and rate, in rounds that alternate; then a reload of each. */
async function handshakesBy(peers: readonly Peer[], ground: Ground, options: Options): Promise<Line[]> {
  const running: { one: RunningPeer; startMs: number; samples: Sample[] }[] = [];
  for (const peer of peers) {
    const before = performance.now();
    const one = await startPeer(peer, ground);
    running.push({ one, startMs: performance.now() - before, samples: [] });
  }
  for (let round = 0; round <= options.rounds; round++) {
    for (const { one, samples } of rotated(running, round)) {
      const sample = await cpuSample(handshakes, one, round, { share: options.share, ground });
      if (round > 0) samples.push(sample);
    }
  }
  const lines: Line[] = [];
  for (const { one, startMs, samples } of running) {
    const cpu = summarise(samples.map(({ perUnit }) => perUnit / 1e3))!; // at least one round
    lines.push({
      what: one.peer.name.replace(/(\w+)-(\d+)/, '$1: $2'),
      microseconds: `${cpu.median.toFixed(0)} (${cpu.min.toFixed(0)}–${cpu.max.toFixed(0)})`,
      perSecond: median(samples.flatMap(({ load }) => load?.perSecond ?? [])),
      memory: await settledMemory(one),
      reload: await measureReload(one),
      startMs,
    });
    await stopPeer(one);
  }
  return lines;
}

/** Memory, idling and a reload with more and more connections open, all in one process. */
async function byOpenConnections(peer: Peer, ground: Ground, { share }: Options): Promise<Line[]> {
  const running = await startPeer(peer, ground);
  const empty = await settledMemory(running);
  // Each is two descriptors, and some are kept in reserve.
  const most = Math.floor((describeMachine().openFiles - 1000) / 2);
  const lines: Line[] = [];
  const holds = [];
  let held = 0;
  for (const count of openCounts.filter((wanted) => wanted <= most && (share === 1 || wanted <= 1000))) {
    holds.push(await holdConnections(idle, count - held, running.site, ground.cores.load));
    held = count;
    const memory = await settledMemory(running);
    lines.push({
      what: `open connections: ${count}`,
      memory,
      perConnection: (memory - empty) / count,
      idleMs: await idleCpu(running),
      reload: await measureReload(running),
    });
  }
  for (const hold of holds.toReversed()) await hold.release();
  await stopPeer(running);
  return lines;
}

/** Milliseconds of CPU a second, over five. */
async function idleCpu({ pids }: RunningPeer): Promise<number> {
  const before = cpuOf(pids);
  await sleep(5000);
  return (cpuOf(pids) - before) / 5e6;
}

/** The median of three (or one that took long): until all workers serve the new configuration, and CPU time until they have cleared up. */
async function measureReload({ site, pids }: RunningPeer): Promise<Reload> {
  const reloads: Reload[] = [];
  for (let turn = 0; turn < 3; turn++) {
    const [cpu, at] = [cpuOf(pids), performance.now()];
    const answer = await fetch(`http://${site.address}:${site.ports['admin']}/reload`, { method: 'POST' });
    const ms = performance.now() - at;
    if (!answer.ok) throw new Error(`the reload failed: ${await answer.text()}`);
    await sleep(500);
    reloads.push({ ms, cpuMs: (cpuOf(pids) - cpu) / 1e6 });
    if (ms > 5000) break;
  }
  return { ms: median(reloads.map(({ ms }) => ms)), cpuMs: median(reloads.map(({ cpuMs }) => cpuMs)) };
}

function render({ rounds, share }: Options, { version, library }: Peer, lines: readonly Line[]): string {
  const head = [
    '',
    'CPU a connection, µs',
    'connections/s',
    'memory, MiB',
    'KiB a connection',
    'CPU while idle, ms/s',
    'reload, ms (CPU)',
    'start, ms',
  ];
  return [
    '# How penstock grows\n',
    `${new Date().toISOString()}, ${machineLine({ machine: describeMachine() })}, penstock ${version}, ${library}; ${rounds} rounds` +
      `${share === 1 ? '' : ' of few connections: **too few to be quoted**'}. Full TLS 1.3 handshakes (ECDSA), 64 bytes echoed. With several workers`,
    'they run on any core, the load generator and the upstream on one of them; all else has a core for penstock and one for the load.\n',
    `${table(head, lines.map(cellsOf))}\n`,
  ].join('\n');
}

function cellsOf({ what, microseconds, perSecond, memory, perConnection, idleMs, reload, startMs }: Line) {
  const shown = (value: number | undefined, digits = 0) => value?.toFixed(digits) ?? '';
  return [
    what,
    microseconds ?? '',
    shown(perSecond),
    memory === undefined ? '' : shown(memory / 2 ** 20),
    perConnection === undefined ? '' : shown(perConnection / 1024, 1),
    shown(idleMs, 1),
    reload === undefined ? '' : `${shown(reload.ms)} (${shown(reload.cpuMs)})`,
    shown(startMs),
  ];
}
