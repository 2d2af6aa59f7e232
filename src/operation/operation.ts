/** A running penstock as a whole: workers, reloads, health checks, ticket keys, admin endpoint and service manager. */

import { formatFinding, type LoadedConfig } from '../config/load.ts';
import type { Config } from '../config/schema/schema.ts';
import { createHealthChecks } from '../health/probes.ts';
import { createMetricsHub } from '../observe/hub.ts';
import type { Log } from '../observe/log.ts';
import { shareTurns } from '../process/turns.ts';
import { version } from '../process/version.ts';
import { createSupervisor, type Supervisor } from '../supervisor/supervisor.ts';
import { createTicketMasters } from '../tls/server/ticket-masters.ts';
import type { BoundAddresses } from '../worker/methods.ts';
import { type AdminPlace, openAdminPlace } from './admin-place.ts';
import { createOverview, type Overview } from './overview.ts';
import { createReloader, type Reloader } from './reload.ts';
import { createServiceManager } from './service-manager.ts';

export type Operation = {
  readonly listeners: BoundAddresses;
  /** Where the admin endpoint is at the start, if there is one. */
  readonly admin: string | undefined;
  readonly supervisor: Supervisor;
  readonly reload: Reloader['reload'];
  /** New workers, with the code and the configuration that are on disk now. */
  readonly upgrade: () => Promise<void>;
  /** Not ready from now on; ends when the last connection has, or been cut. Resolves with the number of those cut. */
  readonly drain: () => Promise<number>;
};

export type OperationOptions = {
  readonly log: Log;
  /** These override the configuration. */
  readonly logLevel: Config['log']['level'] | undefined;
  readonly workers: number | 'auto' | undefined;
  /** Resolves when penstock is told to stop: before it serves, its workers then end at once, and the start rejects. */
  readonly stopped: Promise<void>;
};

/** Starts it all. Rejects with StartError or a ProxyError (ERR_LISTEN) if it cannot serve; then nothing is left running. */
export async function startOperation(loaded: LoadedConfig, options: OperationOptions): Promise<Operation> {
  const { log } = options;
  const { logger } = log;
  const levelOf = ({ config }: LoadedConfig) => options.logLevel ?? config.log.level;
  const warn = createWarner(log);
  warn(loaded);
  if (process.getuid?.() === 0) {
    logger.warn('running as root: penstock needs none of its rights; ports below 1024 take one capability');
  }

  let draining = false;
  let overview: Overview | undefined;
  let opened: Promise<AdminPlace> | undefined;
  const hub = createMetricsHub({ version });
  const manager = createServiceManager(logger, () => supervisor.isHeard());
  const tickets = createTicketMasters(loaded.config.session_tickets.rotate, (masters) =>
    supervisor.setTicketMasters(masters),
  );
  const supervisor = createSupervisor({
    logger,
    settings: {
      log: { ...loaded.config.log, level: levelOf(loaded) },
      ticketMasters: tickets.read(),
    },
    workers: options.workers,
    events: {
      onMetrics: hub.update,
      onGone(worker, crashed) {
        hub.retire(worker);
        if (crashed) overview?.onCrash();
      },
    },
  });
  const health = createHealthChecks({ logger, onChange: supervisor.setHealth });

  let serves = false;
  void options.stopped.then(() => (serves ? undefined : supervisor.drain(0)));
  const listeners = await supervisor.start(loaded);
  serves = true;
  health.update(loaded);
  const reloader = await createReloader(loaded, supervisor, logger, {
    prepare: async (next) => (await opened)?.prepare(next),
    onBegin: manager.reloading,
    onApplied(next) {
      warn(next);
      health.update(next);
      tickets.rotateEvery(next.config.session_tickets.rotate);
      logger.level = levelOf(next);
      if (next.config.log.destination !== loaded.config.log.destination) {
        logger.warn('log.destination is changed by a restart, not by a reload');
      }
      supervisor.setLogLevel(levelOf(next));
    },
    onEnd({ ok, faults }) {
      if (!draining) manager.ready(ok ? 'serving' : `serving; the last reload failed: ${faults[0]}`);
    },
  });
  overview = createOverview({
    version,
    supervisor,
    reloader,
    hub,
    health: health.states,
    isDraining: () => draining,
  });
  opened = openAdmin(loaded, overview, log);
  const admin = await opened.catch(async (error: unknown) => {
    await supervisor.drain(0);
    throw error;
  });
  manager.ready('serving');

  return {
    listeners,
    admin: admin.address(),
    supervisor,
    reload: reloader.reload,
    upgrade: shareTurns(async () => {
      const { ok } = await reloader.reload('SIGUSR2');
      if (!ok) return;
      await supervisor.makeRoom();
      const outcome = await supervisor.upgrade(reloader.current().config.shutdown.upgrade_grace);
      if (outcome.ok) logger.info({ workers: supervisor.workers() }, 'workers replaced');
      else if (draining) logger.warn('upgrade given up: penstock is stopping');
      else logger.error({ faults: outcome.faults }, 'upgrade failed: the old workers go on');
    }),
    async drain() {
      const { grace } = reloader.current().config.shutdown;
      draining = true;
      logger.info({ grace_ms: grace }, 'draining');
      manager.stopping(grace);
      reloader.close();
      health.close();
      const cut = await supervisor.drain(grace);
      await admin.close();
      manager.close();
      return cut;
    },
  };
}

async function openAdmin(loaded: LoadedConfig, source: Overview, { logger }: Log): Promise<AdminPlace> {
  const failed = (error: unknown) => logger.error({ err: error }, 'the admin endpoint failed to answer');
  const onMoved = (admin: string | undefined) => logger.info({ admin }, 'admin endpoint moved');
  return openAdminPlace(loaded, { ...source, failed }, onMoved);
}

/** Logs the warnings of a configuration that the one before did not have. */
function createWarner({ logger }: Log): (loaded: LoadedConfig) => void {
  let told = new Set<string>();
  return ({ warnings }) => {
    const keys = warnings.map(({ path, message }) => `${path} ${message}`);
    for (const [index, warning] of warnings.entries()) {
      if (!told.has(keys[index] ?? '')) logger.warn(formatFinding(warning));
    }
    told = new Set(keys);
  };
}
