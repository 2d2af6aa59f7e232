/** The process that users start: it reads the configuration, keeps workers serving it, and tells them what to do. */
import { availableParallelism } from 'node:os';
import type { Logger } from 'pino';
import type { LoadedConfig, TicketMasters } from '../config/load.ts';
import { packConfig } from '../config/transfer.ts';
import type { Code } from '../errors.ts';
import { takeSockets } from '../listen/inherited.ts';
import { removeStaleSockets } from '../listen/listener.ts';
import type { MetricsSnapshot } from '../observe/metrics.ts';
import { createRests } from '../upstream/ejections.ts';
import type { EndpointReport } from '../upstream/endpoint-state.ts';
import type { EndpointView } from '../upstream/registry.ts';
import {
  type BoundAddresses,
  limitsOf,
  type SupervisorMethods,
  type WorkerSettings,
} from '../worker/methods.ts';
import { describeStartFaults } from '../worker/worker.ts';
import { faultsIn } from './consent.ts';
import { type HeartbeatTimes, startHeartbeat } from './heartbeat.ts';
import { createHeldSockets, type Reservation } from './held-sockets.ts';
import { createLeaseOffice } from './leases.ts';
import { makeRoom } from './old-workers.ts';
import { createAddressBook } from './shared-address-limits.ts';
import { createSocketKeeper } from './socket-keeper.ts';
import { forkWorker, killWorker, type Phase, retireWorker, type WorkerHandle } from './worker-handle.ts';
import { rightsOf } from './worker-rights.ts';

export type SupervisorOptions = {
  readonly logger: Logger;
  readonly settings: Pick<WorkerSettings, 'log' | 'ticketMasters'>;
  /** Overrides the configuration. */
  readonly workers: number | 'auto' | undefined;
  readonly events?: SupervisorEvents;
  readonly heartbeat?: HeartbeatTimes;
};

/** What workers tell, and what becomes of them. */
export type SupervisorEvents = {
  readonly onMetrics?: (worker: number, snapshot: MetricsSnapshot) => void;
  /** `crashed`: nobody had told it to end. */
  readonly onGone?: (worker: number, crashed: boolean) => void;
};

export type Supervisor = {
  /** Starts the workers with their first configuration. Resolves with what is bound; throws StartError, and none is left. */
  readonly start: (loaded: LoadedConfig) => Promise<BoundAddresses>;
  /**
   * Has all workers take a configuration, or none: the faults, one a line, if one of them could not. Once `drain` was called
   * nothing new is taken or started.
   */
  readonly apply: (
    loaded: LoadedConfig,
  ) => Promise<{ ok: true; bound: BoundAddresses } | { ok: false; faults: string[] }>;
  /** To be awaited before an upgrade, so that replaced workers with connections do not pile up: the oldest may have to end. */
  readonly makeRoom: () => Promise<void>;
  /** Replaces the workers one by one with the code on disk; the old ones drain for `graceMs`. Faults if a new one fails. */
  readonly upgrade: (graceMs: number) => Promise<{ ok: true } | { ok: false; faults: string[] }>;
  /** Ends all workers, open connections after `graceMs`; resolves with the number of connections cut. */
  readonly drain: (graceMs: number) => Promise<number>;
  /** For new workers too. */
  readonly setTicketMasters: (masters: TicketMasters) => void;
  /** What the health checks found, for new workers too. */
  readonly setHealth: (reports: readonly EndpointReport[]) => void;
  readonly reopenLogs: () => void;
  readonly setLogLevel: (level: WorkerSettings['log']['level']) => void;
  readonly workers: () => readonly { readonly id: number; readonly pid: number; readonly phase: Phase }[];
  readonly bound: () => BoundAddresses;
  /** Whether some worker has answered lately: if none has, nobody is served. */
  readonly isHeard: () => boolean;
  /** Has all workers tell their counts now (`onMetrics`); one that does not answer soon is not waited for. */
  readonly collect: () => Promise<void>;
  /** How the workers see the endpoints of these upstreams, those of them that answer soon. */
  readonly endpoints: (upstreams: readonly string[]) => Promise<EndpointView[]>;
};

/** The faults that kept the first workers from serving, one a line. */
export class StartError extends Error {
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join('\n'));
    this.name = 'StartError';
    this.faults = faults;
  }
}

/** Why nothing new is begun. */
const stoppingFault = 'penstock is stopping';
/** A worker that lived longer than this is replaced at once when it dies. */
const steadyMs = 10_000;
const maxPauseMs = 30_000;
/** So long clients may wait for the next worker, where the last one has died. */
const maxWaitMs = 1000;
const collectMs = 1000;

export function createSupervisor({
  logger,
  settings,
  workers: override,
  events = {},
  heartbeat: heartbeatTimes,
}: SupervisorOptions): Supervisor {
  const workers = new Map<number, WorkerHandle>();
  const held = createHeldSockets(takeSockets());
  const sockets = createSocketKeeper();
  const addresses = createAddressBook();
  const leases = createLeaseOffice((worker, name) => {
    const state = workers.get(worker);
    return state ? state.channel.call('reclaim', name).catch(() => 0) : Promise.resolve(0);
  });
  let current: LoadedConfig | undefined;
  let level = settings.log.level;
  let ticketMasters = settings.ticketMasters;
  let health: readonly EndpointReport[] = [];
  let healthAt = performance.now();
  const rests = createRests();
  let stopping = false;
  let quickDeaths = 0;
  /** Configurations and workers change one at a time, so that no worker is missed. */
  let turn: Promise<unknown> = Promise.resolve();

  const heartbeat = startHeartbeat(
    // One that starts has much to do, and serves nobody yet.
    () => [...workers.values()].filter(({ phase }) => phase !== 'starting'),
    ({ channel }) => channel.call('ping'),
    {
      onSilent: (worker, ticks) => logger.warn(hanging(worker, ticks), 'a worker does not answer'),
      onBack: (worker, ticks) => logger.info(hanging(worker, ticks), 'the worker answers again'),
      onLost(worker, ticks) {
        logger.error(hanging(worker, ticks), 'killing a worker that does not answer');
        worker.process.process.kill('SIGKILL');
      },
    },
    heartbeatTimes,
  );

  function inTurn<T>(step: () => Promise<T>): Promise<T> {
    const result = turn.then(step);
    turn = result.catch(() => {});
    return result;
  }

  function methodsFor(id: number): Omit<SupervisorMethods, 'hello'> {
    return {
      lease: (name, wanted) => leases.request(id, name, wanted),
      giveBack: (name, amount) => leases.giveBack(id, name, amount),
      claim: (name, amount) => leases.claim(id, name, amount),
      enterAddress: (listener, key) => addresses.enter(id, listener, key),
      leaveAddress: (listener, key) => addresses.leave(id, listener, key),
      metrics: (snapshot) => events.onMetrics?.(id, snapshot),
      ejected(ejection) {
        rests.add(ejection);
        for (const other of workers.values()) if (other.id !== id) other.channel.tell('eject', ejection);
      },
      async cancelElsewhere(request) {
        const others = [...workers.values()].filter((worker) => worker.id !== id);
        const found = await Promise.all(
          others.map(({ channel }) => channel.call('cancel', request).catch(() => 0)),
        );
        return found.reduce((total, count) => total + count, 0);
      },
    };
  }

  function fork({ config }: LoadedConfig): WorkerHandle {
    const worker = forkWorker(held.handOver(), rightsOf(config), methodsFor);
    workers.set(worker.id, worker);
    worker.process.once('exit', (code, signal) => onExit(worker, code, signal));
    return worker;
  }

  function onExit(state: WorkerHandle, code: number | null, signal: string | null): void {
    workers.delete(state.id);
    state.channel.close();
    events.onGone?.(state.id, state.phase === 'serving' && !stopping);
    leases.release(state.id);
    addresses.release(state.id);
    if (state.phase !== 'serving' || stopping) return;
    const lived = performance.now() - state.startedAt;
    quickDeaths = lived < steadyMs ? quickDeaths + 1 : 0;
    const pause = quickDeaths < 2 ? 0 : Math.min(maxPauseMs, 100 * 2 ** (quickDeaths - 2));
    logger.error(
      { worker: state.id, worker_pid: state.pid, exit_code: code, signal, pause_ms: pause },
      'worker died',
    );
    replaceAfter(pause);
  }

  function replaceAfter(pauseMs: number): void {
    // Better refused, and served elsewhere, than kept waiting by workers that do not get up.
    if (pauseMs > maxWaitMs && serving().length === 0) held.close();
    setTimeout(() => void inTurn(replace), pauseMs);
  }

  async function replace(): Promise<void> {
    if (stopping || current === undefined || serving().length >= wantedWorkers(current)) return;
    // Addresses may have been let go of.
    const reserved = await reserve(current);
    tryAgain('faults' in reserved ? reserved.faults : await launch(current));
  }

  /** For workers that should be there and could not start. */
  function tryAgain(faults: readonly string[]): void {
    if (stopping || faults.length === 0) return;
    logger.error({ faults }, 'a new worker could not start');
    quickDeaths += 1;
    replaceAfter(Math.min(maxPauseMs, 100 * 2 ** quickDeaths));
  }

  const serving = () => [...workers.values()].filter(({ phase }) => phase === 'serving');
  const wantedWorkers = ({ config }: LoadedConfig): number => {
    const wanted = override ?? config.workers;
    return wanted === 'auto' ? availableParallelism() : wanted;
  };

  function healthNow(): EndpointReport[] {
    const age = performance.now() - healthAt;
    return health.map((report) => ({ ...report, forMs: report.forMs + age }));
  }

  /** Asks all workers; those that have not answered soon are left out. */
  async function askAll<T>(ask: (worker: WorkerHandle) => Promise<T>): Promise<T[]> {
    const answers: T[] = [];
    const asked = [...workers.values()].map(async (worker) => void answers.push(await ask(worker)));
    const late = new Promise((resolve) => setTimeout(resolve, collectMs).unref());
    await Promise.race([Promise.allSettled(asked), late]);
    return answers;
  }

  /** Starts one worker; its faults if it cannot serve, and then it is gone. A drain ends it while it starts. */
  async function launch(loaded: LoadedConfig): Promise<readonly string[]> {
    if (stopping) return [stoppingFault];
    let state: WorkerHandle | undefined;
    try {
      state = fork(loaded);
      await Promise.race([state.listens, state.gone]);
      await state.channel.call('start', {
        log: { ...settings.log, level },
        ticketMasters,
        health: healthNow(),
        ejections: rests.running(),
      });
      const { channel } = state;
      const faults = await sockets.open(loaded, async () => {
        const answer = await channel.call('prepare', packConfig(loaded));
        return answer.ok ? [] : answer.faults;
      });
      if (faults.length > 0) {
        await killWorker(state);
        return faults;
      }
      bound = await state.channel.call('commit');
      state.phase = 'serving';
      logger.info({ worker: state.id, worker_pid: state.pid }, 'worker serving');
      return [];
    } catch (error) {
      // Some failures to fork are thrown.
      const failure = state ? state.failure : (error as Error);
      if (failure) return [`no process can be started for a worker: ${failure.message}`];
      if (state) await killWorker(state);
      return [`a worker ended while it started: ${(error as Error).message}`];
    }
  }

  let bound: BoundAddresses = {};

  async function reserve(loaded: LoadedConfig): Promise<Reservation | { faults: readonly string[] }> {
    return removeStaleSockets(loaded.config)
      .then(() => held.reserve(loaded))
      .catch((error: unknown) => ({ faults: describeStartFaults(error) }));
  }

  function adopt(loaded: LoadedConfig): void {
    current = loaded;
    sockets.keep(loaded);
    leases.setLimits(limitsOf(loaded));
    addresses.setListeners(loaded.config.listeners);
  }

  async function adjustWorkers(loaded: LoadedConfig): Promise<readonly string[]> {
    const wanted = wantedWorkers(loaded);
    const missing = Math.max(0, wanted - serving().length);
    const faults = await Promise.all(Array.from({ length: missing }, () => launch(loaded)));
    for (const extra of serving().slice(wanted))
      void retireWorker(extra, loaded.config.shutdown.upgrade_grace);
    return [...new Set(faults.flat())];
  }

  return {
    start: (loaded) =>
      inTurn(async () => {
        adopt(loaded);
        const reserved = await reserve(loaded);
        const faults =
          'faults' in reserved ? reserved.faults : [...(await adjustWorkers(loaded)), ...reserved.rivals()];
        if (faults.length === 0) return bound;
        stopping = true;
        held.close();
        await Promise.all([...workers.values()].map(killWorker));
        throw new StartError(faults);
      }),

    apply: (loaded) =>
      inTurn(async () => {
        const reserved = await reserve(loaded);
        if ('faults' in reserved) return { ok: false, faults: [...reserved.faults] };
        const asked = serving();
        const refused = await sockets.open(reserved.loaded, () =>
          faultsIn(asked, reserved, () => launch(reserved.loaded)),
        );
        const faults = stopping ? [stoppingFault] : refused;
        if (faults.length > 0) {
          reserved.release();
          for (const substitute of serving().filter((one) => !asked.includes(one)))
            void killWorker(substitute);
          await Promise.all(asked.map(({ channel }) => channel.call('abort').catch(() => {})));
          return { ok: false, faults: [...faults] };
        }
        adopt(reserved.loaded);
        reserved.keep();
        const committed = await Promise.all(
          asked.map(({ channel }) => channel.call('commit').catch(() => undefined)),
        );
        bound = committed.find((it) => it !== undefined) ?? bound;
        tryAgain(await adjustWorkers(reserved.loaded));
        return stopping ? { ok: false, faults: [stoppingFault] } : { ok: true, bound };
      }),

    async makeRoom() {
      if (current === undefined) return;
      const graceMs = current.config.shutdown.grace;
      await makeRoom([...workers.values()], { size: wantedWorkers(current), graceMs, logger });
    },

    upgrade: (graceMs) =>
      inTurn(async () => {
        const loaded = current;
        if (loaded === undefined) return { ok: false, faults: ['nothing is served yet'] };
        for (const old of serving()) {
          const faults = await launch(loaded);
          if (faults.length > 0) return { ok: false, faults: [...faults] };
          void retireWorker(old, graceMs).then((cut) => {
            logger.info({ worker: old.id, worker_pid: old.pid, cut }, 'replaced worker ended');
          });
        }
        return { ok: true };
      }),

    async drain(graceMs) {
      stopping = true;
      held.close();
      const cuts = await Promise.all(
        [...workers.values()].map(async (state) => {
          if (state.phase !== 'starting') return retireWorker(state, graceMs);
          // It serves nobody yet, and may not even hear what it is told.
          await killWorker(state);
          return 0;
        }),
      );
      heartbeat.close();
      return cuts.reduce((total, cut) => total + cut, 0);
    },

    setTicketMasters(masters) {
      ticketMasters = masters;
      for (const { channel } of workers.values()) channel.tell('setTicketMasters', masters);
    },

    setHealth(reports) {
      health = reports;
      healthAt = performance.now();
      for (const { up, upstream, endpoint } of reports) if (!up) rests.end(upstream, endpoint);
      for (const { channel } of workers.values()) channel.tell('applyHealth', reports);
    },

    reopenLogs() {
      for (const { channel } of workers.values()) channel.tell('reopenLog');
    },

    setLogLevel(next) {
      level = next;
      for (const { channel } of workers.values()) channel.tell('setLogLevel', next);
    },

    bound: () => bound,
    isHeard: heartbeat.isHeard,
    async collect() {
      await askAll(async ({ id, channel }) => events.onMetrics?.(id, await channel.call('snapshot')));
    },
    endpoints: async (upstreams) =>
      (await askAll(({ channel }) => channel.call('endpoints', upstreams))).flat(),
    workers: () => [...workers.values()].map(({ id, pid, phase }) => ({ id, pid, phase })),
  };
}

function hanging({ id, pid }: WorkerHandle, ticks: number) {
  return { worker: id, worker_pid: pid, code: 'ERR_WORKER_HANGS' satisfies Code, ticks };
}
