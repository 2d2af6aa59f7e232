/** `penstock run`: serves until a signal stops it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { AdminApi } from '../cluster/admin-api/server.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { Config } from '../config/schema/schema.ts';
import type { ConfigSource, Offer } from '../config/source.ts';
import { FileSource } from '../config/sources/file.ts';
import { findConfigFile } from '../config/sources/find-file.ts';
import { type Log, openLog } from '../observe/log.ts';
import { type Operation, type OperationOptions, startOperation } from '../operation/operation.ts';
import { softLimit } from '../process/descriptors.ts';
import { freeMemory } from '../process/free-memory.ts';
import { type Signal, takeSignals } from '../process/no-inspector.ts';
import { exitArguments } from '../process/own-files.ts';
import { StartError } from '../supervisor/rollout.ts';
import { orTell } from '../tools/terminal/load-or-tell.ts';
import { describeStartFaults } from '../worker/start-faults.ts';

export type RunOptions = {
  readonly config?: string | undefined;
  readonly logLevel?: Config['log']['level'] | undefined;
  readonly workers?: number | 'auto' | undefined;
};

/** Resolves with the exit code: 0 after a drain, 1 if it could not serve, 2 for a faulty configuration. */
export async function run({ config: file, logLevel, workers }: RunOptions): Promise<number> {
  const signals = listenForSignals();
  const opening = orTell(() => openSource(file));
  const opened = await orStopped(opening, signals);
  if (opened === 'stopped') {
    if (!(await endsSoon(opening))) leaveStuck(0);
    return 0;
  }
  if (opened === undefined) return 2;
  const { source, first } = opened;
  const log = await orStopped(openOrTell(first.loaded, logLevel), signals);
  if (log === 'stopped') return 0;
  if (log === undefined) return 1;
  const { cluster } = opened;
  const code = await runLogged(opened, { log, logLevel, workers, cluster }, signals);
  const isRead = await endsSoon(source.close());
  const isWritten = await log.close();
  if (!isRead || !isWritten) leaveStuck(code);
  return code;
}

type Opened = {
  readonly source: ConfigSource;
  readonly first: Offer;
  readonly cluster: OperationOptions['cluster'];
  /** Starts what changes the source by requests, once it is served. */
  readonly startApi?: (logger: Logger) => Promise<AdminApi>;
};

async function openSource(option: string | undefined): Promise<Opened> {
  const file = new FileSource(await findConfigFile(option));
  const first = await file.load();
  const { cluster, admin_api } = first.loaded.config;
  if (cluster?.etcd.layout === 'apisix') {
    const { openApisix } = await import('../cluster/apisix/open.ts');
    return openApisix(file.name, first.loaded, cluster);
  }
  if (admin_api !== undefined) {
    const { openObjects } = await import('../cluster/open-objects.ts');
    return { ...(await openObjects(file.name, first.loaded)), cluster: undefined };
  }
  if (cluster === undefined) return { source: file, first, cluster: undefined };
  const { openClusterSource } = await import('../cluster/source.ts');
  const source = await openClusterSource(file, first, cluster);
  return { source, first: await source.start(), cluster: source.member };
}

/** Waits for a step of the start, but not beyond a signal to stop. */
async function orStopped<T>(step: Promise<T>, { stopped }: Signals): Promise<T | 'stopped'> {
  const outcome = await Promise.race([step, stopped.then(() => 'stopped' as const)]);
  if (outcome === 'stopped') process.stderr.write('penstock: stopped before it served\n');
  return outcome;
}

async function openOrTell({ config }: LoadedConfig, level = config.log.level): Promise<Log | undefined> {
  try {
    return await openLog({ ...config.log, level, otlp: config.otlp });
  } catch (error) {
    process.stderr.write(`penstock: the log cannot be opened: ${(error as Error).message}\n`);
    return undefined;
  }
}

async function runLogged(
  { source, first, startApi }: Opened,
  options: Omit<OperationOptions, 'stopped'>,
  signals: Signals,
): Promise<number> {
  const { logger } = options.log;
  try {
    const operation = await startOperation(source, first, { ...options, stopped: signals.stopped });
    const { listeners, admin, supervisor } = operation;
    const api = await startApi?.(logger).catch(async (error: unknown) => {
      await supervisor.drain(0);
      throw error;
    });
    const workers = supervisor.workers().length;
    // For a person at the terminal; programs read the log.
    if (process.stderr.isTTY) {
      const { listenersTable } = await import('./check.ts');
      process.stderr.write(`\n${listenersTable(first.loaded, shownRoutes)}\n`);
    }
    for (const warning of tooFewDescriptors(first.loaded.config, workers * softLimit())) logger.warn(warning);
    const admin_api = api?.address;
    logger.info({ listeners, admin, ...(api && { admin_api }), workers, file: source.name }, 'ready');
    freeMemory();
    return await serve(signals, operation, options.log, api);
  } catch (error) {
    if (signals.isStopping()) {
      logger.info('stopped before it served');
      return 0;
    }
    const faults = error instanceof StartError ? error.faults : describeStartFaults(error);
    for (const fault of faults) process.stderr.write(`penstock: ${fault}\n`);
    logger.fatal({ faults }, 'cannot start');
    return 1;
  }
}

const shownRoutes = 50;

/** Connection limits that can never be reached with `descriptors` open files, each with a remedy. */
export function tooFewDescriptors({ listeners }: Pick<Config, 'listeners'>, descriptors: number): string[] {
  return Object.entries(listeners).flatMap(([name, { limits }]) => {
    const { connections } = limits;
    if (connections === Number.POSITIVE_INFINITY || connections <= descriptors) return [];
    return [
      `listeners.${name}.limits.connections is ${connections}, but the limit of open files is enough for about ` +
        `${Math.floor(descriptors / 2)}; raise \`ulimit -n\` (LimitNOFILE=) to ${2 * connections}`,
    ];
  });
}

const readMs = 3000;

/**
 * False if files are still being read after a moment: from a pipe without a writer, say, or a file system
 * that hangs.
 */
function endsSoon(reading: Promise<unknown>): Promise<boolean> {
  const isOver = () => true;
  return Promise.race([reading.then(isOver, isOver), sleep(readMs, false)]);
}

/**
 * Exits with this code even if a thread is stuck in a read or write, for which `process.exit` would wait: it
 * replaces the process by another program. Node before 22.15 cannot do that; there the code is that of
 * SIGKILL.
 */
function leaveStuck(code: number): void {
  process.execve?.(process.execPath, [process.execPath, ...exitArguments(code)], {});
  process.kill(process.pid, 'SIGKILL');
}

/** Obeys signals until penstock stops: drains on the first signal to stop, and cuts the rest on a second. */
async function serve(
  signals: Signals,
  operation: Operation,
  log: Log,
  api: AdminApi | undefined,
): Promise<number> {
  for (;;) {
    const signal = await signals.next();
    switch (signal) {
      case 'SIGUSR1':
        log.reopen();
        operation.supervisor.reopenLogs();
        log.logger.info('log file reopened');
        break;
      case 'SIGHUP':
        void operation.reload(signal);
        break;
      case 'SIGUSR2':
        void operation.upgrade();
        break;
      default: {
        log.logger.info({ signal }, 'stopping');
        if (process.stderr.isTTY) process.stderr.write('once more ends open connections at once\n');
        void api?.close();
        const atOnce = stopSignal(signals).then(() => operation.supervisor.drain(0));
        const cut = await Promise.race([operation.drain(), atOnce]);
        log.logger.info({ cut }, 'stopped');
        return 0;
      }
    }
  }
}

type Signals = {
  readonly next: () => Promise<Signal>;
  /** Resolves at the first signal to stop; `next` still resolves with that signal too. */
  readonly stopped: Promise<void>;
  readonly isStopping: () => boolean;
};

const saysStop = (signal: Signal): boolean => signal === 'SIGTERM' || signal === 'SIGINT';

async function stopSignal(signals: Signals): Promise<void> {
  while (!saysStop(await signals.next()));
}

function listenForSignals(): Signals {
  const arrived: Signal[] = [];
  let wake: (() => void) | undefined;
  let stopping = false;
  let stop = () => {};
  const stopped = new Promise<void>((resolve) => {
    stop = resolve;
  });
  takeSignals((signal) => {
    arrived.push(signal);
    wake?.();
    if (!saysStop(signal)) return;
    stopping = true;
    stop();
  });
  return {
    stopped,
    isStopping: () => stopping,
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
