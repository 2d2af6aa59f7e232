/** `penstock run`: serves until it is told to stop. */
import { ConfigError, findConfigFile, formatFinding, type LoadedConfig, loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { type Log, openLog } from '../observe/log.ts';
import { type Standalone, startWorker } from '../standalone.ts';
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
  let log: Log;
  try {
    log = await openLog({ ...loaded.config.log, level: options.logLevel ?? loaded.config.log.level });
  } catch (error) {
    process.stderr.write(`penstock: the log cannot be opened: ${(error as Error).message}\n`);
    return 1;
  }
  // Before anything that takes time: without a listener SIGUSR1 would open Node's inspector, and SIGHUP end us.
  const stopped = listenForSignals(log);
  for (const warning of loaded.warnings) log.logger.warn(formatFinding(warning));
  try {
    const worker = await startWorker(loaded, log.logger);
    log.logger.info({ listeners: describeBound(worker), file: loaded.file }, 'ready');
    return await stopOn(stopped, worker, loaded, log);
  } catch (error) {
    for (const fault of describeStartFaults(error)) process.stderr.write(`penstock: ${fault}\n`);
    log.logger.fatal({ faults: describeStartFaults(error) }, 'cannot start');
    return 1;
  } finally {
    log.flush();
  }
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

type Stop = { readonly first: Promise<NodeJS.Signals>; readonly second: Promise<NodeJS.Signals> };

function listenForSignals(log: Log): Stop {
  process.on('SIGUSR1', () => {
    log.reopen();
    log.logger.info('log file reopened');
  });
  const waiting: ((signal: NodeJS.Signals) => void)[] = [];
  const next = (): Promise<NodeJS.Signals> => new Promise((resolve) => waiting.push(resolve));
  const stop = { first: next(), second: next() };
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => waiting.shift()?.(name));
  return stop;
}

/** Drains on the first signal; a second one ends what is left at once. */
async function stopOn(stop: Stop, worker: Standalone, loaded: LoadedConfig, log: Log): Promise<number> {
  const signal = await stop.first;
  const { grace } = loaded.config.shutdown;
  log.logger.info({ signal, grace_ms: grace }, 'draining');
  const drained = worker.drain(grace);
  const cut = await Promise.race([drained, stop.second.then(() => worker.drain(0))]);
  log.logger.info({ cut }, 'stopped');
  return 0;
}

function describeBound(worker: Standalone): Record<string, string[]> {
  return Object.fromEntries([...worker.bound].map(([name, bound]) => [name, bound.map((it) => it.address)]));
}
