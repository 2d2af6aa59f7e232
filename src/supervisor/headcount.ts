/**
 * Keeps the wanted number of workers serving: starts missing ones, retires surplus ones, replaces dead ones.
 */
import { availableParallelism } from 'node:os';
import type { Logger } from 'pino';
import type { SendableConfig } from '../config/transfer.ts';
import type { DeadWorker, Pool } from './pool.ts';
import { type Death, noDeaths, restartAfter } from './restart.ts';
import type { TcpSockets } from './tcp-sockets.ts';
import { retireWorker } from './worker-handle.ts';

export type Headcount = {
  readonly wanted: (loaded: SendableConfig) => number;
  readonly isShort: (loaded: SendableConfig) => boolean;
  /** Like `Pool.launch`, and replaces the worker when it dies. */
  readonly launch: (loaded: SendableConfig) => Promise<readonly string[]>;
  /** Starts or retires workers; resolves with the faults of those that could not start. */
  readonly adjust: (loaded: SendableConfig) => Promise<readonly string[]>;
  /** Retries later to start missing workers, unless there are no faults. */
  readonly retry: (faults: readonly string[]) => void;
};

export type HeadcountParts = {
  readonly logger: Logger;
  readonly pool: Pool;
  readonly tcpSockets: TcpSockets;
  /** Overrides the configuration. */
  readonly count: number | 'auto' | undefined;
};

/** How long clients may wait for the next worker when the last one has died. */
const maxWaitMs = 1000;

/**
 * Calls `replace` after a pause that depends on the deaths so far, to launch a worker if one is still missing
 * then.
 */
export function createHeadcount(parts: HeadcountParts, replace: () => void): Headcount {
  const { logger, pool, tcpSockets, count } = parts;
  let restart = noDeaths;

  function replaceAfter(death: Death): number {
    restart = restartAfter(death, restart);
    const { pauseMs } = restart;
    // It is better to refuse clients, who may go elsewhere, than to keep them waiting for workers that cannot
    // start.
    if (pauseMs > maxWaitMs && pool.serving.length === 0) tcpSockets.close();
    setTimeout(replace, pauseMs);
    return pauseMs;
  }

  function died({ worker, livedMs, code, signal }: DeadWorker): void {
    const pauseMs = replaceAfter({ livedMs });
    logger.error(
      { worker: worker.id, worker_pid: worker.pid, exit_code: code, signal, pause_ms: pauseMs },
      'worker died',
    );
  }

  const launch = (loaded: SendableConfig) => pool.launch(loaded, died);
  const wanted = ({ config }: SendableConfig): number => {
    const workers = count ?? config.workers;
    return workers === 'auto' ? availableParallelism() : workers;
  };

  return {
    wanted,
    isShort: (loaded) => pool.serving.length < wanted(loaded),
    launch,
    async adjust(loaded) {
      const missing = Math.max(0, wanted(loaded) - pool.serving.length);
      const faults = await Promise.all(Array.from({ length: missing }, () => launch(loaded)));
      const { upgrade_grace } = loaded.config.shutdown;
      for (const extra of pool.serving.slice(wanted(loaded))) void retireWorker(extra, upgrade_grace);
      return [...new Set(faults.flat())];
    },
    retry(faults) {
      if (pool.isClosed || faults.length === 0) return;
      logger.error({ faults }, 'a new worker could not start');
      replaceAfter('never served');
    },
  };
}
