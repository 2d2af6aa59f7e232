/** Rolls out configurations and generations of workers, one at a time, so that no worker is left out. */
import type { SendableConfig } from '../config/transfer.ts';
import { removeStaleSockets } from '../listen/listener.ts';
import { createTurns } from '../process/turns.ts';
import type { BoundAddresses } from '../worker/methods.ts';
import { describeStartFaults } from '../worker/start-faults.ts';
import { faultsIn } from './consent.ts';
import { createHeadcount, type Headcount, type HeadcountParts } from './headcount.ts';
import { makeRoom } from './old-workers.ts';
import { stoppingFault } from './pool.ts';
import type { Requests } from './requests.ts';
import type { Reservation } from './tcp-sockets.ts';
import type { UnixSockets } from './unix-sockets.ts';
import { killWorker, retireWorker, type WorkerHandle } from './worker-handle.ts';

export type RolloutParts = HeadcountParts & {
  readonly unixSockets: UnixSockets;
  readonly requests: Requests;
};

/** Holds the faults that kept the first workers from serving, one per line. */
export class StartError extends Error {
  readonly faults: readonly string[];
  /** No worker was started, since an address could not be bound: `start` takes another configuration. */
  readonly canBeRetried: boolean;

  constructor(faults: readonly string[], canBeRetried = false) {
    super(faults.join('\n'));
    this.name = 'StartError';
    this.faults = faults;
    this.canBeRetried = canBeRetried;
  }
}

type Refusal = { readonly ok: false; readonly faults: readonly string[] };

export class Rollout {
  readonly #parts: RolloutParts;
  readonly #headcount: Headcount;
  readonly #inTurn = createTurns();
  #current: SendableConfig | undefined;

  constructor(parts: RolloutParts) {
    this.#parts = parts;
    this.#headcount = createHeadcount(parts, () => void this.#inTurn(() => this.#replace()));
  }

  start(loaded: SendableConfig): Promise<BoundAddresses> {
    const { pool, tcpSockets } = this.#parts;
    return this.#inTurn(async () => {
      const reserved = await this.#reserve(loaded);
      if ('faults' in reserved) throw new StartError(reserved.faults, true);
      this.#adopt(loaded);
      const faults = [...(await this.#headcount.adjust(loaded)), ...reserved.rivals()];
      if (faults.length === 0) return pool.bound;
      pool.close();
      tcpSockets.close();
      await Promise.all([...pool.workers.values()].map(killWorker));
      throw new StartError(faults);
    });
  }

  apply(loaded: SendableConfig): Promise<{ readonly ok: true; readonly bound: BoundAddresses } | Refusal> {
    const { pool } = this.#parts;
    return this.#inTurn(async () => {
      const reserved = await this.#reserve(loaded);
      if ('faults' in reserved) return { ok: false, faults: reserved.faults };
      const asked = pool.serving;
      const refused = await this.#ask(asked, reserved);
      const faults = pool.isClosed ? [stoppingFault] : refused;
      if (faults.length > 0) {
        await this.#giveUp(asked, reserved);
        return { ok: false, faults };
      }
      this.#adopt(reserved.loaded);
      reserved.keep();
      await Promise.all(asked.map((worker) => pool.commit(worker).catch(() => {})));
      this.#headcount.retry(await this.#headcount.adjust(reserved.loaded));
      return pool.isClosed ? { ok: false, faults: [stoppingFault] } : { ok: true, bound: pool.bound };
    });
  }

  async makeRoom(): Promise<void> {
    const { logger, pool } = this.#parts;
    if (this.#current === undefined) return;
    const size = this.#headcount.wanted(this.#current);
    const graceMs = this.#current.config.shutdown.grace;
    await makeRoom([...pool.workers.values()], { size, graceMs, logger });
  }

  upgrade(graceMs: number): Promise<{ readonly ok: true } | Refusal> {
    const { logger, pool } = this.#parts;
    return this.#inTurn(async () => {
      const loaded = this.#current;
      if (loaded === undefined) return { ok: false, faults: ['nothing is served yet'] };
      for (const old of pool.serving) {
        const faults = await this.#headcount.launch(loaded);
        if (faults.length > 0) return { ok: false, faults };
        void retireWorker(old, graceMs).then((cut) => {
          logger.info({ worker: old.id, worker_pid: old.pid, cut }, 'replaced worker ended');
        });
      }
      return { ok: true };
    });
  }

  /** Does not wait for its turn: whatever is under way is abandoned. */
  async drain(graceMs: number): Promise<number> {
    const { pool, tcpSockets } = this.#parts;
    pool.close();
    tcpSockets.close();
    const cuts = await Promise.all(
      [...pool.workers.values()].map(async (worker) => {
        if (worker.phase !== 'starting') return retireWorker(worker, graceMs);
        // It serves no one yet, and may not even receive messages.
        await killWorker(worker);
        return 0;
      }),
    );
    return cuts.reduce((total, cut) => total + cut, 0);
  }

  /** Sets what is served from now on. */
  #adopt(loaded: SendableConfig): void {
    this.#current = loaded;
    this.#parts.unixSockets.keep(loaded);
    this.#parts.requests.setLimits(loaded);
  }

  async #reserve(loaded: SendableConfig): Promise<Reservation | { readonly faults: readonly string[] }> {
    return removeStaleSockets(loaded.config)
      .then(() => this.#parts.tcpSockets.reserve(loaded))
      .catch((error: unknown) => ({ faults: describeStartFaults(error) }));
  }

  #ask(workers: readonly WorkerHandle[], reserved: Reservation): Promise<readonly string[]> {
    const substitute = () => this.#headcount.launch(reserved.loaded);
    return this.#parts.unixSockets.open(reserved.loaded, () => faultsIn(workers, reserved, substitute));
  }

  /** Undoes everything that a refused configuration has left, including a worker started with it. */
  async #giveUp(asked: readonly WorkerHandle[], reserved: Reservation): Promise<void> {
    reserved.release();
    for (const worker of this.#parts.pool.serving) if (!asked.includes(worker)) void killWorker(worker);
    await Promise.all(asked.map(({ channel }) => channel.call('abort').catch(() => {})));
  }

  async #replace(): Promise<void> {
    const loaded = this.#current;
    if (this.#parts.pool.isClosed || loaded === undefined || !this.#headcount.isShort(loaded)) return;
    // Addresses may have been released meanwhile.
    const reserved = await this.#reserve(loaded);
    this.#headcount.retry('faults' in reserved ? reserved.faults : await this.#headcount.launch(loaded));
  }
}
