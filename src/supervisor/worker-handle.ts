/** The supervisor's handle of a worker process: forks it, talks to it, ends it. */
import cluster, { type Worker as ClusterWorker } from 'node:cluster';
import type { Socket } from 'node:net';
import type { Piece } from '../config/pieces.ts';
import { packConfig, type SendableConfig } from '../config/transfer.ts';
import { type Channel, createChannel } from '../ipc/channel.ts';
import type { Inheritance } from '../listen/inherited.ts';
import { forkable } from '../process/own-files.ts';
import type { PrepareAnswer, SentSocket, SupervisorMethods, WorkerMethods } from '../worker/methods.ts';

/** A worker starts, serves and drains; once gone, it is forgotten. */
export type WorkerPhase = 'starting' | 'serving' | 'draining';

export type WorkerHandle = {
  readonly id: number;
  readonly pid: number;
  readonly process: ClusterWorker;
  readonly channel: Channel<WorkerMethods>;
  readonly startedAt: number;
  /** Resolves when messages to it are no longer lost. */
  readonly listens: Promise<void>;
  readonly gone: Promise<void>;
  phase: WorkerPhase;
  /** Why there is no process: the system has no process or descriptor left. */
  failure: Error | undefined;
  /** Connections that its drain had to cut. */
  cut: number;
  readonly holds: Holdings;
};

/** The pieces of configurations that a worker has: of the one it serves, and of the one it has prepared. */
export type Holdings = { served: ReadonlySet<string>; prepared: ReadonlySet<string> };

export function noHoldings(): Holdings {
  return { served: new Set(), prepared: new Set() };
}

/** Workers whose processes have not ended, by id, the oldest first. */
export type Workers = ReadonlyMap<number, WorkerHandle>;

/**
 * Workers accept connections themselves (`SCHED_NONE`): round robin through the supervisor costs half as much
 * CPU again.
 */
function setUpCluster({ stdio }: Inheritance, rights: readonly string[]): void {
  const { program, execArgv } = forkable('worker', [...process.execArgv, ...flagsOfAll(), ...rights]);
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  cluster.setupPrimary({
    exec: program,
    args: [],
    execArgv: [...execArgv],
    serialization: 'advanced',
    stdio: [...stdio],
  });
}

/**
 * Without the first flag, SIGUSR1 would open the inspector of a worker that is still starting (Node 20 lacks
 * the flag).
 */
function flagsOfAll(): string[] {
  const flag = '--disable-sigusr1';
  return process.allowedNodeEnvironmentFlags.has(flag) && !process.execArgv.includes(flag) ? [flag] : [];
}

/**
 * Starts a worker with the supervisor's own Node flags and `rights`; `methodsOf` returns what it may call,
 * except `hello`.
 */
export function forkWorker(
  inheritance: Inheritance,
  rights: readonly string[],
  methodsOf: (id: number) => Omit<SupervisorMethods, 'hello'>,
): WorkerHandle {
  setUpCluster(inheritance, rights);
  const process = cluster.fork(inheritance.env);
  let hello = () => {};
  const listens = new Promise<void>((resolve) => {
    hello = resolve;
  });
  const channel = createChannel<WorkerMethods>(
    (message) => {
      if (process.isConnected()) process.send(message as object, () => {});
    },
    { ...methodsOf(process.id), hello: () => hello() },
  );
  process.on('message', channel.receive);
  const worker: WorkerHandle = {
    id: process.id,
    pid: process.process.pid ?? 0,
    process,
    channel,
    startedAt: performance.now(),
    listens,
    gone: new Promise<void>((resolve) => process.once('exit', () => resolve())),
    phase: 'starting',
    failure: undefined,
    cut: 0,
    holds: noHoldings(),
  };
  process.on('error', (error) => {
    // Usually a write, by us or by cluster, to a worker that is just exiting; 'exit' reports what matters.
    if (process.process.pid !== undefined || worker.failure) return;
    // For a process that never started Node emits no 'exit', and cluster would wait for it forever.
    worker.failure = error;
    process.process.emit('exit', null, null);
  });
  return worker;
}

/** Sends a bound socket, which stays open here too; later messages to the worker arrive after it. */
export function sendSocket({ process }: WorkerHandle, key: string, socket: Socket): void {
  const message: SentSocket = { held: key };
  if (process.isConnected()) process.send(message, socket, { keepOpen: true }, () => {});
}

/** What workers have no use for. */
const forSupervisor = { warnings: [], held: [], files: [], apiKeys: [] };

/** The size of a message with pieces, roughly, in bytes. */
const fullMessage = 50_000;

/** Makes a worker prepare a configuration, of which it gets what it has not. Rejects if it ends meanwhile. */
export async function sendConfig(
  { channel, holds }: Pick<WorkerHandle, 'channel' | 'holds'>,
  loaded: SendableConfig,
): Promise<PrepareAnswer> {
  let pieces: Piece[] = [];
  let size = 0;
  const flush = async () => {
    if (pieces.length > 0) await channel.call('take', pieces);
    [pieces, size] = [[], 0];
  };
  for (const piece of loaded.pieces) {
    if (holds.served.has(piece.id)) continue;
    if (size + piece.bytes.length > fullMessage) await flush();
    pieces.push(piece);
    size += piece.bytes.length;
  }
  await flush();
  const ids = loaded.pieces.map(({ id }) => id);
  const answer = await channel.call('prepare', { ...packConfig(loaded), ...forSupervisor }, ids);
  holds.prepared = new Set(ids);
  return answer;
}

/** Ends a worker at once. */
export async function killWorker(worker: WorkerHandle): Promise<void> {
  worker.phase = 'draining';
  worker.process.process.kill('SIGKILL');
  await worker.gone;
}

/** Shorter than what the service manager allows the whole process beyond the grace. */
const lateMs = 4000;
const maxTimerMs = 2 ** 31 - 1;

/**
 * Makes a worker drain and end; resolves with the number of connections that were cut. Kills a worker that
 * hangs.
 */
export async function retireWorker(worker: WorkerHandle, graceMs: number): Promise<number> {
  worker.phase = 'draining';
  const kill = () => worker.process.process.kill('SIGKILL');
  const patience = Number.isFinite(graceMs)
    ? setTimeout(kill, Math.min(graceMs + lateMs, maxTimerMs))
    : undefined;
  try {
    worker.cut = await worker.channel.call('drain', graceMs);
    // A second, less patient drain may have got here first. (Disconnecting a worker twice throws.)
    const { process } = worker;
    if (process.isConnected() && !process.exitedAfterDisconnect) process.disconnect();
  } catch {
    // It has already gone, or goes after answering the other drain.
  }
  await worker.gone;
  clearTimeout(patience);
  return worker.cut;
}
