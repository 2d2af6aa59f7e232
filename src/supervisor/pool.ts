/** The pool of workers: starts them, has them serve, and notices when they die. */
import type { Logger } from 'pino';
import type { SendableConfig } from '../config/transfer.ts';
import type { Inheritance } from '../listen/inherited.ts';
import type { BoundAddresses, WorkerSettings } from '../worker/methods.ts';
import type { Requests } from './requests.ts';
import type { UnixSockets } from './unix-sockets.ts';
import { forkWorker, killWorker, sendConfig, type WorkerHandle, type Workers } from './worker-handle.ts';
import { rightsOf } from './worker-rights.ts';

export type PoolParts = {
  readonly logger: Logger;
  /** Owned by the pool; others only read it. */
  readonly workers: Map<number, WorkerHandle>;
  readonly requests: Requests;
  readonly unixSockets: UnixSockets;
  /** What a new worker inherits. */
  readonly inheritance: () => Inheritance;
  /** The settings for a new worker. */
  readonly settings: () => WorkerSettings;
  readonly onGone: (worker: number) => void;
};

/** A worker that served, and ended without being asked to. */
export type DeadWorker = {
  readonly worker: WorkerHandle;
  readonly livedMs: number;
  readonly code: number | null;
  readonly signal: string | null;
};

/** The fault reported for anything requested while stopping. */
export const stoppingFault = 'penstock is stopping';

export class Pool {
  readonly #parts: PoolParts;
  #bound: BoundAddresses = {};
  #crashes = 0;
  #closed = false;

  constructor(parts: PoolParts) {
    this.#parts = parts;
  }

  /** Workers whose processes have not ended. */
  get workers(): Workers {
    return this.#parts.workers;
  }

  get serving(): readonly WorkerHandle[] {
    return [...this.workers.values()].filter(({ phase }) => phase === 'serving');
  }

  /** As reported by the last worker to commit. */
  get bound(): BoundAddresses {
    return this.#bound;
  }

  /** How many have died since the start. */
  get crashes(): number {
    return this.#crashes;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** From now on starts no worker, and does not care when one ends. */
  close(): void {
    this.#closed = true;
  }

  /**
   * Starts one worker; resolves with its faults if it cannot serve, in which case it is gone. Once it serves,
   * `onDeath` is called if it ends without being asked to.
   */
  async launch(loaded: SendableConfig, onDeath: (dead: DeadWorker) => void): Promise<readonly string[]> {
    if (this.#closed) return [stoppingFault];
    let worker: WorkerHandle | undefined;
    try {
      worker = this.#fork(loaded, onDeath);
      const faults = await this.#setUp(worker, loaded);
      if (faults.length > 0) {
        await killWorker(worker);
        return faults;
      }
      await this.commit(worker);
      worker.phase = 'serving';
      const { id, pid } = worker;
      this.#parts.logger.info({ worker: id, worker_pid: pid }, 'worker serving');
      return [];
    } catch (error) {
      // Some fork failures are thrown.
      const failure = worker ? worker.failure : (error as Error);
      if (failure) return [`no process can be started for a worker: ${failure.message}`];
      if (worker) await killWorker(worker);
      return [`a worker ended while it started: ${(error as Error).message}`];
    }
  }

  /** Makes a worker serve what it has prepared. Rejects if it has gone. */
  async commit({ channel, holds }: WorkerHandle): Promise<void> {
    this.#bound = await channel.call('commit');
    holds.served = holds.prepared;
  }

  /**
   * Resolves with its faults if it cannot take the configuration. Rejects if it ends meanwhile, as in a
   * drain.
   */
  async #setUp(worker: WorkerHandle, loaded: SendableConfig): Promise<readonly string[]> {
    const { settings, unixSockets } = this.#parts;
    await Promise.race([worker.listens, worker.gone]);
    await worker.channel.call('start', settings());
    return unixSockets.open(loaded, async () => {
      const answer = await sendConfig(worker, loaded);
      return answer.ok ? [] : answer.faults;
    });
  }

  #fork({ config }: SendableConfig, onDeath: (dead: DeadWorker) => void): WorkerHandle {
    const { workers, inheritance, requests } = this.#parts;
    const worker = forkWorker(inheritance(), rightsOf(config), requests.methodsFor);
    workers.set(worker.id, worker);
    worker.process.once('exit', (code, signal) => {
      this.#forget(worker);
      if (worker.phase !== 'serving' || this.#closed) return;
      this.#crashes += 1;
      onDeath({ worker, livedMs: performance.now() - worker.startedAt, code, signal });
    });
    return worker;
  }

  #forget({ id, channel }: WorkerHandle): void {
    const { workers, requests, onGone } = this.#parts;
    workers.delete(id);
    channel.close();
    onGone(id);
    requests.release(id);
  }
}
