/** A worker process as the supervisor has it: forked, spoken to, ended. */
import cluster, { type Worker as ClusterWorker } from 'node:cluster';
import type { Socket } from 'node:net';
import { packConfig, type SendableConfig } from '../config/transfer.ts';
import { type Channel, createChannel } from '../ipc/channel.ts';
import type { Inheritance } from '../listen/inherited.ts';
import type { PrepareAnswer, SentSocket, SupervisorMethods, WorkerMethods } from '../worker/methods.ts';

/** It starts, serves, and drains; when it is gone it is forgotten. */
export type WorkerPhase = 'starting' | 'serving' | 'draining';

export type WorkerHandle = {
  readonly id: number;
  readonly pid: number;
  readonly process: ClusterWorker;
  readonly channel: Channel<WorkerMethods>;
  readonly startedAt: number;
  /** Messages to it are not lost any more. */
  readonly listens: Promise<void>;
  readonly gone: Promise<void>;
  phase: WorkerPhase;
  /** Why there is no process: the system has none, or no descriptors, to give. */
  failure: Error | undefined;
  /** Connections that its drain had to cut. */
  cut: number;
};

/** Those whose processes have not ended, by id, the oldest first. */
export type Workers = ReadonlyMap<number, WorkerHandle>;

/** Workers accept for themselves (`SCHED_NONE`): round robin through the supervisor costs half as much again. */
function setUpCluster({ stdio }: Inheritance, rights: readonly string[]): void {
  const program = new URL(
    `../worker/worker-entry.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`,
    import.meta.url,
  );
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  cluster.setupPrimary({
    exec: program.pathname,
    args: [],
    execArgv: [...process.execArgv, ...flagsOfAll(), ...rights],
    serialization: 'advanced',
    stdio: [...stdio],
  });
}

/** Without the first, SIGUSR1 would open the inspector of a worker that is only starting (Node 20 does not know it). */
function flagsOfAll(): string[] {
  const flag = '--disable-sigusr1';
  return process.allowedNodeEnvironmentFlags.has(flag) && !process.execArgv.includes(flag) ? [flag] : [];
}

/**
 * Starts a worker with the flags of Node that the supervisor was started with, and `rights`; `methodsOf` is what it may
 * ask of the supervisor, `hello` apart.
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
  };
  process.on('error', (error) => {
    // Mostly a write to a worker that is just going, of ours or of cluster's own; 'exit' tells what there is to tell.
    if (process.process.pid !== undefined || worker.failure) return;
    // For a process that never was Node tells no exit, and cluster would wait for it for ever.
    worker.failure = error;
    process.process.emit('exit', null, null);
  });
  return worker;
}

/** Sends a bound socket, which stays open here, too; what is said to the worker afterwards comes after it. */
export function sendSocket({ process }: WorkerHandle, key: string, socket: Socket): void {
  const message: SentSocket = { held: key };
  if (process.isConnected()) process.send(message, socket, { keepOpen: true }, () => {});
}

/** Has a worker prepare a configuration. Rejects if it ends meanwhile. */
export async function sendConfig(
  { channel }: Pick<WorkerHandle, 'channel'>,
  loaded: SendableConfig,
): Promise<PrepareAnswer> {
  for (const piece of loaded.pieces) await channel.call('take', piece);
  return channel.call('prepare', packConfig(loaded));
}

/** Ends a worker that nobody needs, at once. */
export async function killWorker(worker: WorkerHandle): Promise<void> {
  worker.phase = 'draining';
  worker.process.process.kill('SIGKILL');
  await worker.gone;
}

/** Within the time that the service manager gives the whole process beyond the grace. */
const lateMs = 4000;
const maxTimerMs = 2 ** 31 - 1;

/** Has a worker drain and end; resolves with the number of connections that were cut. One that hangs is killed. */
export async function retireWorker(worker: WorkerHandle, graceMs: number): Promise<number> {
  worker.phase = 'draining';
  const kill = () => worker.process.process.kill('SIGKILL');
  const patience = Number.isFinite(graceMs)
    ? setTimeout(kill, Math.min(graceMs + lateMs, maxTimerMs))
    : undefined;
  try {
    worker.cut = await worker.channel.call('drain', graceMs);
    // A second, less patient drain may have been here first. (Disconnecting a worker twice throws.)
    const { process } = worker;
    if (process.isConnected() && !process.exitedAfterDisconnect) process.disconnect();
  } catch {
    // It has gone already, or goes with the answer that the other drain has had.
  }
  await worker.gone;
  clearTimeout(patience);
  return worker.cut;
}
