/** Serves in a single process, without a supervisor, for the demo and for tests. */
import type { Logger } from 'pino';
import type { LoadedConfig } from '../config/load.ts';
import { toServe } from '../config/transfer.ts';
import { createHealthChecks } from '../health/health-checks.ts';
import { localQuotas } from '../ipc/quota.ts';
import { createAddressLimits, hasAddressLimits } from '../listen/address-limits.ts';
import { type Bound, removeStaleSockets } from '../listen/listener.ts';
import { createWorkerMetrics } from '../observe/metrics.ts';
import { createDescriptors, type Descriptors } from '../process/descriptors.ts';
import { inSlices } from '../process/pacer.ts';
import { createTicketMasters } from '../tls/server/ticket-masters.ts';
import { createUpstreamRegistry } from '../upstream/registry.ts';
import type { Resolver } from '../upstream/resolve.ts';
import { createWorker, type Worker } from './worker.ts';

export type Standalone = {
  readonly bound: ReadonlyMap<string, readonly Bound[]>;
  readonly drain: Worker['drain'];
  /** Serves another configuration from now on; open connections keep theirs. Rejects like the start. */
  readonly reload: (loaded: LoadedConfig) => Promise<void>;
};

/**
 * Starts serving. Rejects with all listeners' faults at once (ERR_LISTEN), or if a check of the user's own
 * does not load.
 */
export async function startWorker(
  loaded: LoadedConfig,
  logger: Logger,
  {
    resolver,
    descriptors = createDescriptors(),
  }: { readonly resolver?: Resolver; readonly descriptors?: Descriptors } = {},
): Promise<Standalone> {
  const ticketMasters = createTicketMasters(loaded.config.session_tickets.rotate);
  const upstreams = createUpstreamRegistry({ logger });
  const health = createHealthChecks({ logger, descriptors, onChange: upstreams.applyHealth });
  const worker = createWorker({
    logger,
    ticketMasters,
    metrics: createWorkerMetrics(),
    upstreams,
    descriptors,
    resolver,
    connectionQuota: localQuotas(),
    addressLimits: (_, limits) => (hasAddressLimits(limits) ? createAddressLimits(limits) : undefined),
    cancelElsewhere: async () => [],
  });
  const reload = async (next: LoadedConfig) => {
    await removeStaleSockets(next.config);
    const prepared = await worker.prepare(await inSlices(toServe(next)));
    prepared.commit();
    health.update(next);
    ticketMasters.rotateEvery(next.config.session_tickets.rotate);
  };
  await reload(loaded);
  const drain: Worker['drain'] = async (graceMs) => {
    const cut = await worker.drain(graceMs);
    health.close();
    return cut;
  };
  return { bound: worker.bound(), drain, reload };
}
