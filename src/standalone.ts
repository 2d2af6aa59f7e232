/** Serves in this process alone, without a supervisor: for the demo and for tests. */
import type { Logger } from 'pino';
import type { LoadedConfig } from './config/load.ts';
import { createAddressLimits, hasAddressLimits } from './listen/address-limits.ts';
import { type Bound, removeStaleSockets } from './listen/listener.ts';
import { createWorkerMetrics } from './observe/metrics.ts';
import { localQuota } from './quota.ts';
import { createTicketMasters } from './tls/ticket-masters.ts';
import { createWorker, type Worker } from './worker.ts';

export type Standalone = {
  readonly bound: ReadonlyMap<string, readonly Bound[]>;
  readonly drain: Worker['drain'];
  /** Serves another configuration from now on; open connections keep theirs. Rejects as the start does. */
  readonly reload: (loaded: LoadedConfig) => Promise<void>;
};

/** Starts serving. Rejects with every listener's fault at once (ERR_LISTEN), or if a check of the user's does not load. */
export async function startWorker(loaded: LoadedConfig, logger: Logger): Promise<Standalone> {
  const ticketMasters = createTicketMasters(loaded.config.session_tickets.rotate);
  const worker = createWorker({
    logger,
    ticketMasters,
    metrics: createWorkerMetrics(),
    connectionQuota: (_, limit) => localQuota(limit),
    addressLimits: (_, limits) => (hasAddressLimits(limits) ? createAddressLimits(limits) : undefined),
    cancelElsewhere: async () => 0,
  });
  const reload = async (next: LoadedConfig) => {
    await removeStaleSockets(next.config);
    const prepared = await worker.prepare(next);
    prepared.commit();
    ticketMasters.rotateEvery(next.config.session_tickets.rotate);
  };
  await reload(loaded);
  return { bound: worker.bound(), drain: worker.drain, reload };
}
