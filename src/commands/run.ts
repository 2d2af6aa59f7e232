/** `penstock run`: serves until it is told to stop. */
import { ConfigError, findConfigFile, formatFinding, type LoadedConfig, loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { type Admin, startAdmin } from '../observe/admin.ts';
import { createMetricsHub } from '../observe/hub.ts';
import { type Log, openLog } from '../observe/log.ts';
import { createOverview, type Overview } from '../overview.ts';
import { createReloader, type Reloader } from '../reload.ts';
import { createServiceManager, type ServiceManager } from '../service-manager.ts';
import { createSupervisor, StartError, type Supervisor } from '../supervisor.ts';
import { createTicketMasters } from '../tls/ticket-masters.ts';
import { version } from '../version.ts';
import { describeStartFaults } from '../worker.ts';

export type RunOptions = {
  readonly config?: string | undefined;
  readonly logLevel?: Config['log']['level'] | undefined;
  readonly workers?: number | 'auto' | undefined;
};

/** Resolves with the exit code: 0 after a drain, 1 if it could not serve, 2 for a faulty configuration. */
export async function run(options: RunOptions): Promise<number> {
  const loaded = await loadOrTell(options.config);
  if (loaded === undefined) return 2;
  const logSettings = { ...loaded.config.log, level: options.logLevel ?? loaded.config.log.level };
  let log: Log;
  try {
    log = await openLog(logSettings);
  } catch (error) {
    process.stderr.write(`penstock: the log cannot be opened: ${(error as Error).message}\n`);
    return 1;
  }
  // Before anything that takes time: a signal without a listener would end us.
  const signals = listenForSignals();
  const warn = createWarner(log);
  warn(loaded);
  const tickets = createTicketMasters(loaded.config.session_tickets.rotate, (masters) =>
    supervisor.setTicketMasters(masters),
  );
  const hub = createMetricsHub({ version });
  let overview: Overview | undefined;
  let draining = false;
  let heardAt = performance.now();
  const manager = createServiceManager(log.logger, () => performance.now() - heardAt < silenceMs);
  const supervisor = createSupervisor({
    logger: log.logger,
    settings: { log: logSettings, ticketMasters: tickets.read(), health: [] },
    workers: options.workers,
    events: {
      onMetrics(worker, snapshot) {
        heardAt = performance.now();
        hub.update(worker, snapshot);
      },
      onEjected: (ejection) => overview?.onEjected(ejection),
      onGone(worker, crashed) {
        hub.retire(worker);
        if (crashed) overview?.onCrash();
      },
    },
  });
  try {
    const listeners = await supervisor.start(loaded);
    const reloader = await createReloader(loaded, supervisor, log.logger, {
      onBegin: manager.reloading,
      onApplied(next) {
        warn(next);
        tickets.rotateEvery(next.config.session_tickets.rotate);
        const level = options.logLevel ?? next.config.log.level;
        log.logger.level = level;
        supervisor.setLogLevel(level);
      },
      onEnd: ({ ok, faults }) =>
        manager.ready(ok ? 'serving' : `serving; the last reload failed: ${faults[0]}`),
    });
    overview = createOverview({
      version,
      supervisor,
      reloader,
      hub,
      health: () => [],
      isDraining: () => draining,
    });
    const admin = await openAdmin(loaded, overview, log);
    log.logger.info(
      { listeners, admin: admin?.address, workers: supervisor.workers().length, file: loaded.file },
      'ready',
    );
    manager.ready('serving');
    return await serve({
      signals,
      supervisor,
      reloader,
      manager,
      log,
      onDrain: () => {
        draining = true;
      },
    });
  } catch (error) {
    const faults = error instanceof StartError ? error.faults : describeStartFaults(error);
    for (const fault of faults) process.stderr.write(`penstock: ${fault}\n`);
    log.logger.fatal({ faults }, 'cannot start');
    await supervisor.drain(0);
    return 1;
  } finally {
    manager.close();
    log.flush();
  }
}

/** Workers tell their counts twice a second. When none has for so long, systemd's watchdog is not told that all is well. */
const silenceMs = 10_000;

/** The admin endpoint, if there is one. It is not opened anew by a reload: that takes a restart. */
async function openAdmin(
  { config }: LoadedConfig,
  source: Overview,
  { logger }: Log,
): Promise<Admin | undefined> {
  if (config.admin === undefined) return undefined;
  const failed = (error: unknown) => logger.error({ err: error }, 'the admin endpoint failed to answer');
  return startAdmin(config.admin.bind, { ...source, failed });
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

/** Loads the configuration, or tells every fault on stderr and answers undefined. */
export async function loadOrTell(file: string | undefined): Promise<LoadedConfig | undefined> {
  try {
    return await loadConfig(await findConfigFile(file));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const finding of error.findings) process.stderr.write(`${formatFinding(finding)}\n`);
    return undefined;
  }
}

type Serving = {
  readonly signals: Signals;
  readonly supervisor: Supervisor;
  readonly reloader: Reloader;
  readonly manager: ServiceManager;
  readonly log: Log;
  /** Told when it begins to drain. */
  readonly onDrain: () => void;
};

/** Does what signals say, until one says to stop: drains on the first, ends what is left at once on a second. */
async function serve({ signals, supervisor, reloader, manager, log, onDrain }: Serving): Promise<number> {
  const { logger } = log;
  for (;;) {
    const signal = await signals.next();
    switch (signal) {
      case 'SIGUSR1':
        log.reopen();
        supervisor.reopenLogs();
        logger.info('log file reopened');
        break;
      case 'SIGHUP':
        void reloader.reload(signal);
        break;
      case 'SIGUSR2':
        void upgrade(supervisor, reloader, logger);
        break;
      default: {
        const { grace } = reloader.current().config.shutdown;
        logger.info({ signal, grace_ms: grace }, 'draining');
        onDrain();
        manager.stopping(grace);
        reloader.close();
        const drained = supervisor.drain(grace);
        const cut = await Promise.race([drained, stopSignal(signals).then(() => supervisor.drain(0))]);
        logger.info({ cut }, 'stopped');
        return 0;
      }
    }
  }
}

/** New workers, with the code and the configuration that are on disk now. */
async function upgrade(supervisor: Supervisor, reloader: Reloader, logger: Log['logger']): Promise<void> {
  const { ok } = await reloader.reload('SIGUSR2');
  if (!ok) return;
  const outcome = await supervisor.upgrade(reloader.current().config.shutdown.upgrade_grace);
  if (outcome.ok) logger.info({ workers: supervisor.workers() }, 'workers replaced');
  else logger.error({ faults: outcome.faults }, 'upgrade failed: the old workers go on');
}

type Signals = { readonly next: () => Promise<NodeJS.Signals> };

async function stopSignal(signals: Signals): Promise<void> {
  for (;;) {
    const signal = await signals.next();
    if (signal === 'SIGTERM' || signal === 'SIGINT') return;
  }
}

function listenForSignals(): Signals {
  const arrived: NodeJS.Signals[] = [];
  let wake: (() => void) | undefined;
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) {
    process.on(name, () => {
      arrived.push(name);
      wake?.();
    });
  }
  return {
    async next() {
      for (;;) {
        const signal = arrived.shift();
        if (signal) return signal;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}
