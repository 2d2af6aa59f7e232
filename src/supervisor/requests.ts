/**
 * Answers the workers' requests to the supervisor: for parts of shared limits, and for messages to other
 * workers.
 */
import type { LoadedConfig } from '../config/load.ts';
import type { MetricsSnapshot } from '../observe/metrics.ts';
import type { Ejections } from '../upstream/ejections.ts';
import { limitsOf, type SupervisorMethods } from '../worker/methods.ts';
import { createLeases, type Leases, type Lender } from './leases.ts';
import { createAddressBook } from './shared-address-limits.ts';
import type { Workers } from './worker-handle.ts';

export type Requests = {
  /** The methods for the worker with this id, except `hello`. */
  readonly methodsFor: (id: number) => Omit<SupervisorMethods, 'hello'>;
  /** Sets the limits in force; what workers hold of limits that stay is still counted. */
  readonly setLimits: (loaded: LoadedConfig) => void;
  /** To be called when a worker died: frees what it held. */
  readonly release: (id: number) => void;
  /** This machine's part of what machines share. */
  readonly parts: Pick<Leases, 'held' | 'reclaim' | 'setPart'>;
};

export function createRequests(
  workers: Workers,
  ejections: Ejections,
  onMetrics: (worker: number, snapshot: MetricsSnapshot) => void,
  lender?: Lender,
): Requests {
  const addresses = createAddressBook();
  const leases = createLeases(
    (id, name) =>
      workers
        .get(id)
        ?.channel.call('reclaim', name)
        .catch(() => 0) ?? Promise.resolve(0),
    { lender },
  );
  const othersThan = (id: number) => [...workers.values()].filter((worker) => worker.id !== id);

  return {
    methodsFor: (id) => ({
      lease: (name, wanted, onlyFree) => leases.request(id, name, wanted, onlyFree),
      giveBack: (name, amount) => leases.giveBack(id, name, amount),
      claim: (name, amount) => leases.claim(id, name, amount),
      enterAddress: (listener, key) => addresses.enter(id, listener, key),
      leaveAddress: (listener, key) => addresses.leave(id, listener, key),
      metrics: (snapshot) => onMetrics(id, snapshot),
      ejected(ejection) {
        ejections.add(ejection);
        for (const { channel } of othersThan(id)) channel.tell('eject', ejection);
      },
      async cancelElsewhere(request) {
        const found = await Promise.all(
          othersThan(id).map(({ channel }) => channel.call('cancel', request).catch(() => [])),
        );
        return found.flat();
      },
    }),
    setLimits(loaded) {
      leases.setLimits(limitsOf(loaded));
      addresses.setListeners(loaded.config.listeners);
    },
    release(id) {
      leases.release(id);
      addresses.release(id);
    },
    parts: leases,
  };
}
