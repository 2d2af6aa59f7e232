/**
 * Limits by client address that hold across workers: counted by the supervisor, and released for a worker
 * that dies.
 */
import type { Config } from '../config/schema/schema.ts';
import {
  type AddressVerdict,
  createAddressLimits,
  hasAddressLimits,
  type LocalAddressLimits,
} from '../listen/address-limits.ts';

type AddressBook = {
  /** Sets the listeners in force; those that stay keep their counts. */
  readonly setListeners: (listeners: Config['listeners']) => void;
  readonly enter: (worker: number, listener: string, key: string) => AddressVerdict;
  readonly leave: (worker: number, listener: string, key: string) => void;
  readonly release: (worker: number) => void;
};

export function createAddressBook(): AddressBook {
  const limits = new Map<string, LocalAddressLimits>();
  /** Which worker admitted which addresses: at most one entry per open connection. */
  const held = new Map<number, Map<string, { listener: string; key: string; count: number }>>();

  function holdingsOf(worker: number) {
    const holdings = held.get(worker) ?? new Map<string, { listener: string; key: string; count: number }>();
    held.set(worker, holdings);
    return holdings;
  }

  return {
    setListeners(listeners) {
      for (const name of limits.keys()) if (!(name in listeners)) limits.delete(name);
      for (const [name, { limits: next }] of Object.entries(listeners)) {
        if (!hasAddressLimits(next)) limits.delete(name);
        else if (limits.has(name)) limits.get(name)?.setLimits(next);
        else limits.set(name, createAddressLimits(next));
      }
    },
    enter(worker, listener, key) {
      const verdict = limits.get(listener)?.enter(key) ?? 'in';
      if (verdict !== 'in') return verdict;
      const holdings = holdingsOf(worker);
      const name = `${listener} ${key}`;
      const entry = holdings.get(name) ?? { listener, key, count: 0 };
      entry.count += 1;
      holdings.set(name, entry);
      return verdict;
    },
    leave(worker, listener, key) {
      limits.get(listener)?.leave(key);
      const holdings = holdingsOf(worker);
      const name = `${listener} ${key}`;
      const entry = holdings.get(name);
      if (entry === undefined) return;
      entry.count -= 1;
      if (entry.count === 0) holdings.delete(name);
    },
    release(worker) {
      for (const { listener, key, count } of held.get(worker)?.values() ?? []) {
        for (let left = count; left > 0; left -= 1) limits.get(listener)?.leave(key);
      }
      held.delete(worker);
    },
  };
}
