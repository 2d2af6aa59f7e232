/**
 * A running penstock as a whole: workers, reloads, health checks, ticket keys, admin endpoint and service
 * manager.
 */
import type { Logger } from 'pino';
import type { ClusterLink } from '../cluster/member.ts';
import { formatFinding, type LoadedConfig } from '../config/load.ts';
import type { Config } from '../config/schema/schema.ts';
import type { ConfigSource, Offer } from '../config/source.ts';
import { createHealthChecks } from '../health/health-checks.ts';
import { createMetricsHub, type MetricsHub } from '../observe/hub.ts';
import type { Log } from '../observe/log.ts';
import type { OtlpMetrics } from '../observe/otlp-metrics.ts';
import { shareTurns } from '../process/turns.ts';
import { version } from '../process/version.ts';
import { StartError } from '../supervisor/rollout.ts';
import { createSupervisor, type Supervisor } from '../supervisor/supervisor.ts';
import { createTicketMasters } from '../tls/server/ticket-masters.ts';
import type { BoundAddresses } from '../worker/methods.ts';
import { type AdminPlace, openAdminPlace } from './admin-place.ts';
import { drain } from './drain.ts';
import { Drained } from './drained.ts';
import { createLogLevel } from './log-level.ts';
import { counterOf, lenderOf } from './machine-limits.ts';
import { createOverview, type Overview } from './overview.ts';
import { type Reloader, startReloader } from './reload.ts';
import { createRestartWarner } from './restart-only.ts';
import { createServiceManager } from './service-manager.ts';

export type Operation = {
  readonly listeners: BoundAddresses;
  /** The admin endpoint's address at the start, if there is one. */
  readonly admin: string | undefined;
  readonly supervisor: Supervisor;
  readonly reload: Reloader['reload'];
  /** Starts new workers with the code and configuration now on disk. */
  readonly upgrade: () => Promise<void>;
  /**
   * Stops being ready; resolves when the last connection has ended or been cut, with the number of those cut.
   */
  readonly drain: () => Promise<number>;
};

export type OperationOptions = {
  readonly log: Log;
  /** These override the configuration. */
  readonly logLevel: Config['log']['level'] | undefined;
  readonly workers: number | 'auto' | undefined;
  /**
   * Resolves when penstock must stop. If it does not serve yet, its workers then end at once, and the start
   * rejects.
   */
  readonly stopped: Promise<void>;
  readonly cluster: ClusterLink | undefined;
};

/**
 * Serves the source's first offer. If that cannot be served, rejects with StartError or a ProxyError
 * (ERR_LISTEN), and leaves nothing running.
 */
export async function startOperation(
  source: ConfigSource,
  first: Offer,
  options: OperationOptions,
): Promise<Operation> {
  const { logger } = options.log;
  const warn = createWarner(logger);
  warn(first.loaded);
  warnOfRoot(logger);
  const warnOfRestart = createRestartWarner(first.loaded.config, logger);

  const hub = createMetricsHub({ version });
  const { supervisor, tickets, logLevel } = createServing(first.loaded, hub, options);
  const drained = new Drained(supervisor.setDrains);
  const manager = createServiceManager(logger, supervisor.isHeard);
  const health = createHealthChecks({ logger, onChange: supervisor.setHealth });
  const { listeners, offer } = await startUnlessStopped(supervisor, first, options.stopped);
  const { loaded } = offer;
  health.update(loaded);

  /** A reload may come while it is still being opened. */
  let opened: Promise<AdminPlace> | undefined;
  const reloader = await startReloader(offer, {
    source,
    supervisor,
    logger,
    events: {
      prepare: async (next) => (await opened)?.prepare(next),
      onBegin: manager.reloading,
      onApplied(next) {
        warn(next);
        health.update(next);
        tickets.rotateEvery(next.config.session_tickets.rotate);
        logLevel.follow(next.config.log.level);
        warnOfRestart(next.config);
        forgetDrains(drained, next, logger);
      },
      onEnd: ({ ok, faults }) =>
        manager.ready(ok ? 'serving' : `serving; the last reload failed: ${faults[0]}`),
    },
  });
  const overview = createOverview({
    version,
    supervisor,
    reloader,
    hub,
    health: health.states,
    cluster: options.cluster,
    drained,
    logLevel,
    logger,
  });
  opened = openAdmin(loaded, overview, logger);
  const [admin, otlp] = await Promise.all([opened, openMetrics(loaded, overview, logger)]).catch(
    async (error: unknown) => {
      await supervisor.drain(0);
      throw error;
    },
  );
  manager.ready('serving');
  return {
    listeners,
    admin: admin.address(),
    supervisor,
    reload: (reason) => reloader.reload(reason),
    upgrade: shareTurns(() => upgrade(reloader, supervisor, logger)),
    drain: () => drain({ logger, manager, reloader, health, supervisor, admin, otlp }),
  };
}

/** Creates the supervisor, without workers yet, and whatever keeps its workers informed later. */
function createServing(loaded: LoadedConfig, hub: MetricsHub, options: OperationOptions) {
  const { log, workers, cluster } = options;
  const { logger } = log;
  const logLevel = createLogLevel(loaded.config.log.level, options.logLevel, (level) => {
    logger.level = level;
    supervisor.setLogLevel(level);
  });
  const own = createTicketMasters(loaded.config.session_tickets.rotate, (masters) => {
    if (cluster?.masters() === undefined) supervisor.setTicketMasters(masters);
  });
  const tickets = { ...own, read: () => cluster?.masters() ?? own.read() };
  const supervisor = createSupervisor({
    logger,
    settings: {
      log: { ...loaded.config.log, level: logLevel.now(), otlp: loaded.config.otlp },
      ticketMasters: tickets.read(),
    },
    workers,
    events: { onMetrics: hub.update, onGone: hub.retire },
    lender: cluster?.shares && lenderOf(cluster.shares),
  });
  cluster?.shares?.attach(counterOf(supervisor));
  cluster?.onMasters((masters) => supervisor.setTicketMasters(masters));
  return { supervisor, tickets, logLevel };
}

/** Resolves with the offer that is served: the first, or one without what is at fault in it. */
async function startUnlessStopped(
  supervisor: Supervisor,
  first: Offer,
  stopped: Promise<void>,
): Promise<{ readonly listeners: BoundAddresses; readonly offer: Offer }> {
  let serves = false;
  void stopped.then(() => (serves ? undefined : supervisor.drain(0)));
  for (let offer = first; ; ) {
    try {
      const listeners = await supervisor.start(offer.loaded);
      serves = true;
      return { listeners, offer };
    } catch (error) {
      const faults = error instanceof StartError && error.canBeRetried ? error.faults : [];
      const other = await offer.without?.(faults);
      if (other === undefined) throw error;
      offer = other;
    }
  }
}

async function upgrade(reloader: Reloader, supervisor: Supervisor, logger: Logger): Promise<void> {
  const { ok } = await reloader.reload('SIGUSR2');
  if (!ok) return;
  await supervisor.makeRoom();
  const outcome = await supervisor.upgrade(reloader.current.config.shutdown.upgrade_grace);
  if (outcome.ok) logger.info({ workers: supervisor.workers() }, 'workers replaced');
  else if (supervisor.isStopping()) logger.warn('upgrade given up: penstock is stopping');
  else logger.error({ faults: outcome.faults }, 'upgrade failed: the old workers go on');
}

/** What is no longer configured is not drained either, should it come back. */
function forgetDrains(drained: Drained, { config }: LoadedConfig, logger: Logger): void {
  const gone = drained.keepOnly(config.upstreams);
  if (gone.length > 0) logger.warn({ drains: gone }, 'drained upstreams were removed: no longer drained');
}

function openAdmin(loaded: LoadedConfig, source: Overview, logger: Logger): Promise<AdminPlace> {
  const failed = (error: unknown) => logger.error({ err: error }, 'the admin endpoint failed to answer');
  const onMoved = (admin: string | undefined) => logger.info({ admin }, 'admin endpoint moved');
  return openAdminPlace(loaded, { ...source, failed }, onMoved);
}

/** Sends metrics by OTLP, if that is configured. */
async function openMetrics(
  { config }: LoadedConfig,
  { families }: Overview,
  logger: Logger,
): Promise<OtlpMetrics | undefined> {
  if (!config.otlp?.metrics) return undefined;
  const { openOtlpMetrics } = await import('../observe/otlp-metrics.ts');
  const failed = ({ message }: Error) => logger.warn({ error: message }, 'metrics cannot be sent by OTLP');
  return openOtlpMetrics(config.otlp, { families, failed });
}

function warnOfRoot(logger: Logger): void {
  if (process.getuid?.() !== 0) return;
  logger.warn('running as root, which penstock does not need; ports below 1024 need only one capability');
}

/** Logs those warnings of a configuration that the previous one did not have. */
function createWarner(logger: Logger): (loaded: LoadedConfig) => void {
  let told = new Set<string>();
  return ({ warnings }) => {
    const keys = warnings.map(({ path, message }) => `${path} ${message}`);
    for (const [index, warning] of warnings.entries()) {
      if (!told.has(keys[index] ?? '')) logger.warn(formatFinding(warning));
    }
    told = new Set(keys);
  };
}
