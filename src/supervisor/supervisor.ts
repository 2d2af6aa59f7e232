/** The process that users start. It reads the configuration, keeps workers serving it, and directs them. */
import type { Logger } from 'pino';
import type { TicketMasters } from '../config/load.ts';
import type { SendableConfig } from '../config/transfer.ts';
import { inheritFromSystemd } from '../listen/inherited.ts';
import type { MetricsSnapshot } from '../observe/metrics.ts';
import { gatherSessions, type SessionQuery, type SessionsFound } from '../observe/sessions.ts';
import type { Drain } from '../upstream/drains.ts';
import { createEjections } from '../upstream/ejections.ts';
import type { EndpointReport } from '../upstream/endpoint-state.ts';
import type { EndpointView } from '../upstream/registry.ts';
import type { BoundAddresses, WorkerSettings } from '../worker/methods.ts';
import { watchForHangs } from './hangs.ts';
import type { HeartbeatTimes } from './heartbeat.ts';
import type { Lender } from './leases.ts';
import { Pool } from './pool.ts';
import { createRequests, type Requests } from './requests.ts';
import { Rollout } from './rollout.ts';
import { createSharedSettings } from './shared-settings.ts';
import { createTcpSockets } from './tcp-sockets.ts';
import { UnixSockets } from './unix-sockets.ts';
import type { WorkerHandle, WorkerPhase, Workers } from './worker-handle.ts';

export type SupervisorOptions = {
  readonly logger: Logger;
  readonly settings: Pick<WorkerSettings, 'log' | 'ticketMasters'>;
  /** Overrides the configuration. */
  readonly workers: number | 'auto' | undefined;
  readonly events?: SupervisorEvents;
  readonly heartbeat?: HeartbeatTimes;
  /** Lends parts of limits that machines share. */
  readonly lender?: Lender | undefined;
};

/** What workers report, and what happens to them. */
export type SupervisorEvents = {
  readonly onMetrics?: (worker: number, snapshot: MetricsSnapshot) => void;
  readonly onGone?: (worker: number) => void;
};

export type Supervisor = {
  /**
   * Starts the workers with their first configuration. Resolves with the bound addresses; if it throws
   * StartError, no worker is left.
   */
  readonly start: (loaded: SendableConfig) => Promise<BoundAddresses>;
  /**
   * Makes all workers take a configuration, or none; resolves with the faults, one per line, if one of them
   * could not. After `drain`, nothing new is taken or started.
   */
  readonly apply: Rollout['apply'];
  /**
   * To be awaited before an upgrade, so that replaced workers with open connections do not pile up: it may
   * end the oldest.
   */
  readonly makeRoom: () => Promise<void>;
  /**
   * Replaces the workers one by one with the code on disk; the old ones drain for `graceMs`. Resolves with
   * faults if a new one fails.
   */
  readonly upgrade: Rollout['upgrade'];
  /** Ends all workers, cutting connections still open after `graceMs`; resolves with the number cut. */
  readonly drain: (graceMs: number) => Promise<number>;
  /** Applies to new workers too. */
  readonly setTicketMasters: (masters: TicketMasters) => void;
  /** Sets the results of health checks, for new workers too. */
  readonly setHealth: (reports: readonly EndpointReport[]) => void;
  /** Sets what operators have taken out of service, for new workers too. */
  readonly setDrains: (drains: readonly Drain[]) => void;
  readonly reopenLogs: () => void;
  readonly setLogLevel: (level: WorkerSettings['log']['level']) => void;
  readonly workers: () => readonly {
    readonly id: number;
    readonly pid: number;
    readonly phase: WorkerPhase;
  }[];
  readonly bound: () => BoundAddresses;
  /** Whether `drain` was called, or the start has failed. */
  readonly isStopping: () => boolean;
  readonly parts: Requests['parts'];
  /** How many workers ended without being asked to. */
  readonly crashes: () => number;
  /** Whether some worker has answered recently; if none has, no client is served. */
  readonly isHeard: () => boolean;
  /** Asks all workers for their counts now (`onMetrics`), without waiting long for any of them. */
  readonly collect: () => Promise<void>;
  /** The workers' views of these upstreams' endpoints, from all that answer soon. */
  readonly endpoints: (upstreams: readonly string[]) => Promise<EndpointView[]>;
  /** The open connections that a query asks for, of all workers that answer soon. */
  readonly sessions: (query: SessionQuery) => Promise<SessionsFound>;
  /** Ends an open connection; resolves with whether a worker had it. */
  readonly kill: (conn: string) => Promise<boolean>;
};

const collectMs = 1000;

export function createSupervisor(options: SupervisorOptions): Supervisor {
  const { logger, events = {} } = options;
  const workers = new Map<number, WorkerHandle>();
  const ejections = createEjections();
  const tcpSockets = createTcpSockets(inheritFromSystemd());
  const unixSockets = new UnixSockets();
  const settings = createSharedSettings(workers, ejections, options.settings);
  const onMetrics = (id: number, snapshot: MetricsSnapshot) => events.onMetrics?.(id, snapshot);
  const requests = createRequests(workers, ejections, onMetrics, options.lender);
  const pool = new Pool({
    logger,
    workers,
    requests,
    unixSockets,
    inheritance: tcpSockets.inheritance,
    settings: settings.now,
    onGone: (id) => events.onGone?.(id),
  });
  const rollout = new Rollout({ logger, pool, tcpSockets, unixSockets, requests, count: options.workers });
  const heartbeat = watchForHangs(workers, logger, options.heartbeat);

  return {
    start: (loaded) => rollout.start(loaded),
    apply: (loaded) => rollout.apply(loaded),
    makeRoom: () => rollout.makeRoom(),
    upgrade: (graceMs) => rollout.upgrade(graceMs),
    async drain(graceMs) {
      const cut = await rollout.drain(graceMs);
      heartbeat.close();
      return cut;
    },
    setTicketMasters: settings.setTicketMasters,
    setHealth: settings.setHealth,
    setDrains: settings.setDrains,
    setLogLevel: settings.setLogLevel,
    reopenLogs() {
      for (const { channel } of workers.values()) channel.tell('reopenLog');
    },
    bound: () => pool.bound,
    isStopping: () => pool.isClosed,
    parts: requests.parts,
    crashes: () => pool.crashes,
    isHeard: heartbeat.isHeard,
    async collect() {
      await askAll(workers, async ({ id, channel }) => {
        events.onMetrics?.(id, await channel.call('snapshot'));
      });
    },
    endpoints: async (upstreams) =>
      (await askAll(workers, ({ channel }) => channel.call('endpoints', upstreams))).flat(),
    sessions: async (query) =>
      gatherSessions(await askAll(workers, ({ channel }) => channel.call('sessions', query)), query),
    kill: async (conn) =>
      (await askAll(workers, ({ channel }) => channel.call('kill', conn))).some((had) => had),
    workers: () => [...workers.values()].map(({ id, pid, phase }) => ({ id, pid, phase })),
  };
}

/** Asks all workers, and leaves out those that do not answer soon. */
async function askAll<T>(workers: Workers, ask: (worker: WorkerHandle) => Promise<T>): Promise<T[]> {
  const answers: T[] = [];
  const asked = [...workers.values()].map(async (worker) => void answers.push(await ask(worker)));
  const late = new Promise((resolve) => setTimeout(resolve, collectMs).unref());
  await Promise.race([Promise.allSettled(asked), late]);
  return answers;
}
