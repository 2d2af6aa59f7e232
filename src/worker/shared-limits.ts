/** A worker's parts of shared limits, as granted by the supervisor. */
import type { ListenerConfig } from '../config/schema/schema.ts';
import type { Channel } from '../ipc/channel.ts';
import type { Patience } from '../ipc/patience.ts';
import { type LeasedQuota, leasedQuota, localQuota, type Quota } from '../ipc/quota.ts';
import {
  type AddressLimits,
  createAddressLimits,
  hasAddressLimits,
  type LocalAddressLimits,
  sharedAddressLimits,
} from '../listen/address-limits.ts';
import type { SupervisorMethods } from './methods.ts';

export type SharedLimits = {
  /** The count for a name from `limitName`: one for each name, with the limit given last. */
  readonly quota: (name: string, limit: number) => Quota;
  readonly addressLimits: (listener: string, limits: ListenerConfig['limits']) => AddressLimits | undefined;
  /** Gives back what is not in use; returns the amount. */
  readonly reclaim: (name: string) => number;
};

/** While the supervisor does not answer in time, the worker counts by itself. */
export function createSharedLimits(supervisor: Channel<SupervisorMethods>, patience: Patience): SharedLimits {
  const quotas = new Map<string, LeasedQuota>();
  /** The limits that apply while the supervisor does not answer. */
  const quotaLimits = new Map<string, number>();
  const addressLimits = new Map<string, LocalAddressLimits>();

  function leased(name: string, limit: number): LeasedQuota {
    const lessor = {
      request: (wanted: number) => supervisor.call('lease', name, wanted),
      requestFree: (wanted: number) => supervisor.call('lease', name, wanted, true),
      giveBack: (amount: number) => supervisor.tell('giveBack', name, amount),
      claim: (amount: number) => supervisor.tell('claim', name, amount),
    };
    return leasedQuota(lessor, () => quotaLimits.get(name) ?? limit, patience);
  }

  return {
    quota(name, limit) {
      if (limit === Number.POSITIVE_INFINITY) return localQuota(limit);
      quotaLimits.set(name, limit);
      const quota = quotas.get(name) ?? leased(name, limit);
      quotas.set(name, quota);
      return quota;
    },
    addressLimits(listener, limits) {
      if (!hasAddressLimits(limits)) return undefined;
      const own = addressLimits.get(listener) ?? createAddressLimits(limits);
      addressLimits.set(listener, own);
      own.setLimits(limits);
      const counter = {
        enter: (key: string) => supervisor.call('enterAddress', listener, key),
        leave: (key: string) => supervisor.tell('leaveAddress', listener, key),
      };
      return sharedAddressLimits(counter, own, patience);
    },
    reclaim: (name) => quotas.get(name)?.reclaim() ?? 0,
  };
}
