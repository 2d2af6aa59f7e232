/** A worker that obeys a supervisor: implements its side of methods.ts, however messages are transported. */
import { type Contents, type Piece, unpackPieces } from '../config/pieces.ts';
import { unpackToServe } from '../config/transfer.ts';
import { deliverAll } from '../connection/cancel-request.ts';
import { endConnection } from '../connection/ending.ts';
import { createRecord } from '../connection/state.ts';
import { type Channel, createChannel } from '../ipc/channel.ts';
import { createPatience } from '../ipc/patience.ts';
import { dropReceived } from '../listen/listener.ts';
import type { AccessRecord } from '../observe/access-log.ts';
import { type Log, openLog } from '../observe/log.ts';
import { createWorkerMetrics, type MetricsSnapshot } from '../observe/metrics.ts';
import { findSessions } from '../observe/sessions.ts';
import { inSlices } from '../process/pacer.ts';
import { holdTicketMasters } from '../tls/server/ticket-masters.ts';
import { createUpstreamRegistry, type UpstreamRegistry } from '../upstream/registry.ts';
import {
  type BoundAddresses,
  type CancelErrand,
  limitName,
  type PrepareAnswer,
  type SupervisorMethods,
  type WorkerMethods,
  type WorkerSettings,
} from './methods.ts';
import { createSharedLimits, type SharedLimits } from './shared-limits.ts';
import { describeStartFaults } from './start-faults.ts';
import { createWorker, type Prepared, type Worker } from './worker.ts';

/** Exists from `start` on. */
type Started = {
  readonly log: Log;
  readonly tickets: ReturnType<typeof holdTicketMasters>;
  readonly upstreams: UpstreamRegistry;
  readonly worker: Worker;
};

export class SupervisedWorker {
  readonly #supervisor: Channel<SupervisorMethods>;
  readonly #limits: SharedLimits;
  readonly #patience = createPatience();
  readonly #metrics = createWorkerMetrics();
  /** Messages to all workers may arrive while this one is still starting. */
  readonly #begun: Promise<Started>;
  #begin: (started: Started) => void = () => {};
  #started: Started | undefined;
  /** Pieces for the next `prepare`. */
  #pieces = new Map<string, Piece>();
  /** What the configuration being served consists of. */
  #contents: Contents = new Map();
  #prepared: (Prepared & { readonly contents: Contents }) | undefined;
  #graceMs = 25_000;
  /** The drain was answered: nothing is open any more, and the supervisor will disconnect. */
  #drained = false;

  /** `send` may fail silently once the supervisor has gone. */
  constructor(send: (message: unknown) => void) {
    this.#begun = new Promise((resolve) => {
      this.#begin = resolve;
    });
    this.#supervisor = createChannel(send, this.#methods());
    this.#limits = createSharedLimits(this.#supervisor, this.#patience);
  }

  /** Must be given every message from the supervisor. */
  receive(message: unknown): void {
    this.#supervisor.receive(message);
  }

  /** Reports that messages are received from now on. */
  hello(): void {
    this.#supervisor.tell('hello');
  }

  /**
   * Reports counts regularly in case of a crash, which then loses only those since the last report. (Requests
   * get current counts.)
   */
  tellMetrics(): void {
    if (this.#started) this.#supervisor.tell('metrics', this.#snapshot(this.#started.worker));
  }

  /** Stops accepting; resolves when open connections have ended, or were cut at the end of the grace. */
  async drain(): Promise<void> {
    await this.#started?.worker.drain(this.#graceMs);
  }

  /** Drains because the supervisor is gone, unless that has been done. */
  async leftAlone(): Promise<void> {
    this.#supervisor.close();
    if (this.#drained) return;
    this.#started?.log.logger.error({ grace_ms: this.#graceMs }, 'the supervisor is gone: draining');
    await this.drain();
  }

  /** Resolves with whether everything logged has been written. */
  async closeLog(): Promise<boolean> {
    return (await this.#started?.log.close()) ?? true;
  }

  #methods(): WorkerMethods {
    return {
      start: (settings) => this.#start(settings),
      prepare: (packed, ids) => this.#prepare(packed, ids),
      commit: () => this.#commit(),
      take: (pieces) => {
        for (const piece of pieces) this.#pieces.set(piece.id, piece);
      },
      abort: () => this.#abort(),
      reclaim: (name) => this.#reclaim(name),
      cancel: (errand) => this.#cancel(errand),
      setTicketMasters: (masters) => void this.#begun.then(({ tickets }) => tickets.replace(masters)),
      ping() {},
      snapshot: () => this.#snapshot(this.#serving()),
      endpoints: (names) => this.#started?.upstreams.endpoints(names) ?? [],
      applyHealth: (reports) => void this.#begun.then(({ upstreams }) => upstreams.applyHealth(reports)),
      setDrains: (drains) => void this.#begun.then(({ upstreams }) => upstreams.setDrains(drains)),
      sessions: (query) => inSlices(findSessions(recordsOf(this.#serving()), query)),
      kill: (conn) => this.#kill(conn),
      eject: (ejection) => void this.#begun.then(({ upstreams }) => upstreams.eject(ejection)),
      reopenLog: () => void this.#begun.then(({ log }) => log.reopen()),
      setLogLevel: (level) =>
        void this.#begun.then(({ log }) => {
          log.logger.level = level;
        }),
      drain: (graceMs) => this.#drainAsTold(graceMs),
    };
  }

  async #start({
    log: settings,
    ticketMasters,
    health,
    ejections,
    drains = [],
  }: WorkerSettings): Promise<void> {
    const [supervisor, limits, patience] = [this.#supervisor, this.#limits, this.#patience];
    const log = await openLog(settings);
    const tickets = holdTicketMasters(ticketMasters);
    const upstreams = createUpstreamRegistry({
      logger: log.logger,
      quota: (upstream, limit) => limits.quota(limitName.upstream(upstream), limit),
      onEjected: (ejection) => supervisor.tell('ejected', ejection),
    });
    upstreams.applyHealth(health);
    for (const ejection of ejections) upstreams.eject(ejection);
    upstreams.setDrains(drains);
    const worker = createWorker({
      logger: log.logger,
      ticketMasters: tickets,
      metrics: this.#metrics,
      upstreams,
      connectionQuota: (listener, limit) => limits.quota(limitName.listener(listener), limit),
      addressLimits: limits.addressLimits,
      cancelElsewhere: async (listener, conn, client, message) =>
        patience.isSilent() ? [] : supervisor.call('cancelElsewhere', { conn, listener, client, message }),
    });
    this.#started = { log, tickets, upstreams, worker };
    this.#begin(this.#started);
  }

  async #prepare(...[packed, ids]: Parameters<WorkerMethods['prepare']>): Promise<PrepareAnswer> {
    const pieces = this.#pieces;
    this.#pieces = new Map();
    try {
      this.#graceMs = packed.config.shutdown.grace;
      const contents = await inSlices(unpackPieces(ids, pieces, this.#contents));
      const loaded = await inSlices(unpackToServe(packed, contents));
      this.#prepared = { ...(await this.#serving().prepare(loaded)), contents };
      return { ok: true };
    } catch (error) {
      return { ok: false, faults: describeStartFaults(error) };
    }
  }

  #commit(): BoundAddresses {
    if (this.#prepared) {
      this.#prepared.commit();
      this.#contents = this.#prepared.contents;
    }
    this.#prepared = undefined;
    const bound = [...this.#serving().bound()];
    return Object.fromEntries(bound.map(([name, sockets]) => [name, sockets.map((it) => it.address)]));
  }

  async #abort(): Promise<void> {
    this.#pieces = new Map();
    await this.#prepared?.abort();
    this.#prepared = undefined;
    dropReceived();
  }

  async #reclaim(name: string): Promise<number> {
    // A grant that arrived just before, in the same read, is not recorded yet: Node emits all messages before
    // microtasks run.
    await new Promise((resolve) => setImmediate(resolve));
    return this.#limits.reclaim(name);
  }

  async #cancel({ conn, listener: name, client, message }: CancelErrand): ReturnType<typeof deliverAll> {
    const listener = this.#serving().listener(name);
    if (listener === undefined) return [];
    const record = createRecord(name, conn, client);
    const raw = { localAddress: undefined, localPort: undefined };
    const caller = { raw, record, listener, clientCert: undefined, meeting: undefined };
    return deliverAll(caller, Buffer.from(message));
  }

  #kill(conn: string): boolean {
    for (const connection of this.#serving().connections()) {
      if (connection.record.conn !== conn) continue;
      endConnection(connection, 'ERR_KILLED', 'an operator ended it');
      return true;
    }
    return false;
  }

  async #drainAsTold(graceMs: number): Promise<number> {
    const cut = await this.#serving().drain(graceMs);
    // The supervisor disconnects when it gets the answer; then this process ends.
    this.#drained = true;
    this.tellMetrics();
    return cut;
  }

  #serving(): Worker {
    if (this.#started === undefined) throw new Error('the worker was not started');
    return this.#started.worker;
  }

  #snapshot(worker: Worker): MetricsSnapshot {
    const { capacity, used } = worker.descriptors;
    const counts = this.#metrics.snapshot(recordsOf(worker));
    return Number.isFinite(capacity) ? { ...counts, descriptors: { used: used(), capacity } } : counts;
  }
}

function* recordsOf({ connections }: Worker): Iterable<AccessRecord> {
  for (const { record } of connections()) yield record;
}
