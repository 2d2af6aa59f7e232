/** Measures one workload on all peers: in rounds, each peer once a round, in an order that rotates. */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { holdConnections, type LoadResult, runLoad } from './load.ts';
import { runPgbench } from './pgbench.ts';
import { cpuOf, endOf, memoryOf } from './processes.ts';
import { type Ground, type RunningPeer, startPeer, stopPeer } from './site.ts';
import { rotated } from './statistics.ts';
import { chooseWorkloads, connectionsOf, type Workload } from './workloads.ts';

/** One peer's part of one round. */
export type Sample = {
  readonly round: number;
  /** Nanoseconds of CPU, or bytes of memory, per unit. */
  readonly perUnit: number;
  /** Lines that it logged, per connection. */
  readonly logLines: number;
  /** Of the load; absent for memory. */
  readonly load?: LoadResult;
};

/** `unserved`: the peer cannot do it. `failed`: it did not do it, or not as it was asked to. */
export type Outcome =
  | { readonly status: 'measured'; readonly samples: readonly Sample[] }
  | { readonly status: 'failed'; readonly reason: string }
  | { readonly status: 'unserved' };

export type Plan = {
  readonly rounds: number;
  readonly share: number;
  readonly ground: Ground;
  /** Told of each sample, for those who watch. */
  readonly onSample: (peer: string, sample: Sample | string) => void;
};

/**
 * Connections that every peer serves before anything is measured, by workload: V8 goes on compiling for some 20,000 of them,
 * by the end of which a plain one costs a third less. A proxy serves for days.
 */
const warmUps: Readonly<Record<string, number>> = { plain: 20_000, 'full-ecdsa': 6000 };

/** Has a peer serve as one that has run for a while. What goes wrong here is told when it is measured. */
export async function warmUp(
  { peer, prepared, site }: RunningPeer,
  { share, ground }: Pick<Plan, 'share' | 'ground'>,
): Promise<void> {
  for (const workload of chooseWorkloads(Object.keys(warmUps))) {
    if (!prepared.served.some(({ name }) => name === workload.front)) continue;
    const connections = Math.ceil((warmUps[workload.id] ?? 0) * share);
    await runLoad(workload, connections, site, ground.cores.load).catch((error: Error) => {
      process.stderr.write(`${peer.name} failed while it warmed up: ${error.message}\n`);
    });
  }
}

/** They take long, and differ little. */
const memoryRounds = 3;

/** Runs a workload. A peer that fails once is out of it. */
export async function measureWorkload(
  workload: Workload,
  running: readonly RunningPeer[],
  plan: Plan,
): Promise<Map<string, Outcome>> {
  const outcomes = new Map<string, Outcome>();
  const able = running.filter(({ prepared }) => prepared.served.some(({ name }) => name === workload.front));
  for (const { peer } of running) outcomes.set(peer.name, { status: 'unserved' });
  const ofMemory = workload.unit === 'idle connection';
  const measureOnce = ofMemory ? memorySample : cpuSample;
  const last = ofMemory ? Math.min(plan.rounds, memoryRounds) : plan.rounds;
  const failed = new Set<string>();
  // Round 0 warms up and does not count: compilers, caches, heaps. Memory is measured on a fresh process.
  for (let round = ofMemory ? 1 : 0; round <= last; round++) {
    for (const one of rotated(able, round)) {
      const { name } = one.peer;
      if (failed.has(name)) continue;
      const sample = await measureOnce(workload, one, round, plan).catch((error: Error) => error.message);
      if (round > 0 || typeof sample === 'string') plan.onSample(name, sample);
      if (typeof sample === 'string') {
        failed.add(name);
        outcomes.set(name, { status: 'failed', reason: sample });
      } else if (round > 0) {
        const before = outcomes.get(name);
        const samples = before?.status === 'measured' ? before.samples : [];
        outcomes.set(name, { status: 'measured', samples: [...samples, sample] });
      }
    }
  }
  return outcomes;
}

/** CPU time of a peer per unit of a workload. Throws if anything was not as it should be. */
export async function cpuSample(
  workload: Workload,
  running: RunningPeer,
  round: number,
  { share, ground }: Pick<Plan, 'share' | 'ground'>,
): Promise<Sample> {
  const { prepared, pids } = running;
  const connections = connectionsOf(workload, share);
  const logged = sizeOf(prepared.logFile);
  const before = cpuOf(pids, prepared.threadsEnd);
  const load =
    workload.unit === 'transaction'
      ? await runPgbench(workload, connections, running, ground.cores.load)
      : await runLoad(workload, connections, running.site, ground.cores.load);
  const after = await settledCpu(running);
  throwIfEnded(running);
  return {
    round,
    perUnit: (after - before) / (connections * workload.unitsEach),
    logLines: linesSince(prepared.logFile, logged) / connections,
    load,
  };
}

/**
 * Memory per idle connection: the slope between a tenth of the connections and all of them, so that what a process needs
 * once does not count. On a peer of its own that has served nothing before.
 */
async function memorySample(
  workload: Workload,
  { peer }: RunningPeer,
  round: number,
  plan: Plan,
): Promise<Sample> {
  const total = connectionsOf(workload, plan.share);
  const few = Math.ceil(total / 10);
  const alone = aloneAs(peer.name);
  const fresh = await startPeer({ ...peer, name: alone }, plan.ground);
  try {
    const holds = [];
    const memory = [];
    for (const count of [few, total]) {
      holds.push(await holdConnections(workload, count, fresh.site, plan.ground.cores.load));
      memory.push(await settledMemory(fresh));
    }
    for (const hold of holds.toReversed()) await hold.release();
    throwIfEnded(fresh);
    return { round, perUnit: (memory[1]! - memory[0]!) / total, logLines: 0 };
  } finally {
    await stopPeer(fresh);
  }
}

/** The name of the site of a second process of a peer. */
export function aloneAs(name: string): string {
  return `${name}-alone`;
}

/** CPU time once the last connections are closed and logged: when it takes less than 2% of a core, or after a second. */
async function settledCpu({ pids, prepared }: RunningPeer): Promise<number> {
  let before = cpuOf(pids, prepared.threadsEnd);
  for (let turn = 0; turn < 20; turn++) {
    await sleep(50);
    const now = cpuOf(pids, prepared.threadsEnd);
    if (now - before < 1e6) return now;
    before = now;
  }
  return before;
}

/** Memory when it has stopped changing: collectors and allocators give back late. At most 15 seconds. */
export async function settledMemory({ pids }: Pick<RunningPeer, 'pids'>): Promise<number> {
  const seen: number[] = [];
  for (let turn = 0; turn < 15; turn++) {
    await sleep(1000);
    seen.push(memoryOf(pids));
    const last = seen.slice(-3);
    if (last.length === 3 && Math.max(...last) < Math.min(...last) * 1.005) break;
  }
  return seen.at(-1)!;
}

function throwIfEnded({ started }: RunningPeer): void {
  const end = started.map(endOf).find((reason) => reason !== undefined);
  if (end !== undefined) throw new Error(end);
}

/** Bytes of a file so far; 0 if there is none. */
function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

/** Lines that a file has got beyond so many bytes. */
function linesSince(file: string, offset: number): number {
  const length = sizeOf(file) - offset;
  if (length <= 0) return 0;
  const fd = openSync(file, 'r');
  const added = Buffer.alloc(length);
  readSync(fd, added, 0, length, offset);
  closeSync(fd);
  return added.reduce((lines, byte) => (byte === 0x0a ? lines + 1 : lines), 0);
}
