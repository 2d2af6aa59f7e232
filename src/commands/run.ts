/** `penstock run`: serves until it is told to stop. */
import { ConfigError, findConfigFile, formatFinding, type LoadedConfig, loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { type Log, openLog } from '../observe/log.ts';
import { createReloader, type Reloader } from '../reload.ts';
import { createSupervisor, StartError, type Supervisor } from '../supervisor.ts';
import { createTicketMasters } from '../tls/ticket-masters.ts';

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
  const tickets = createTicketMasters(12 * 60 * 60 * 1000, (masters) => supervisor.setTicketMasters(masters));
  const supervisor = createSupervisor({
    logger: log.logger,
    settings: { log: logSettings, ticketMasters: tickets.read() },
    workers: options.workers,
  });
  try {
    const listeners = await supervisor.start(loaded);
    const reloader = await createReloader(loaded, supervisor, log.logger, (next) => {
      warn(next);
      const level = options.logLevel ?? next.config.log.level;
      log.logger.level = level;
      supervisor.setLogLevel(level);
    });
    log.logger.info({ listeners, workers: supervisor.workers().length, file: loaded.file }, 'ready');
    return await serve({ signals, supervisor, reloader, log });
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    for (const fault of error.faults) process.stderr.write(`penstock: ${fault}\n`);
    log.logger.fatal({ faults: error.faults }, 'cannot start');
    return 1;
  } finally {
    log.flush();
  }
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
  readonly log: Log;
};

/** Does what signals say, until one says to stop: drains on the first, ends what is left at once on a second. */
async function serve({ signals, supervisor, reloader, log }: Serving): Promise<number> {
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
