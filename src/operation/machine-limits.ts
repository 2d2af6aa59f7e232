/** Between the limits that workers share and those that machines share: only listeners have the latter. */
import type { Counter, Shares } from '../cluster/shares.ts';
import type { Lender } from '../supervisor/leases.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
import { limitName } from '../worker/methods.ts';

export function lenderOf(shares: Shares): Lender {
  const listeners = new Map<string, string>();
  return {
    setLimits(limits) {
      listeners.clear();
      const shared = new Map<string, number>();
      const prefix = limitName.listener('');
      for (const [name, limit] of limits) {
        if (!name.startsWith(prefix)) continue;
        listeners.set(name, name.slice(prefix.length));
        shared.set(name.slice(prefix.length), limit);
      }
      shares.setLimits(shared);
    },
    partOf(name) {
      const listener = listeners.get(name);
      return listener === undefined ? undefined : shares.partOf(listener);
    },
    async more(name) {
      const listener = listeners.get(name);
      if (listener !== undefined) await shares.more(listener);
    },
  };
}

export function counterOf({ parts }: Pick<Supervisor, 'parts'>): Counter {
  return {
    held: (listener) => parts.held(limitName.listener(listener)),
    reclaim: (listener) => parts.reclaim(limitName.listener(listener)),
    setPart: (listener, part) => parts.setPart(limitName.listener(listener), part),
  };
}
