/**
 * Paces expensive computation: at most so many may start in one turn of the event loop; the rest wait in
 * order, and everything else is served in between. Once started, a caller holds no place, so a client that
 * then falls silent blocks nobody.
 */
import { deferred } from '../process/deferred.ts';

export type Gate = {
  /**
   * undefined: start at once. Otherwise `come` resolves when it is this caller's turn. At that
   * moment `cancelled` is called; if it says yes, the caller is skipped and `come` stays
   * pending, so never await `come` alone.
   */
  readonly enter: (cancelled: () => boolean) => Turn | undefined;
  /** How many are waiting. */
  readonly waiting: () => number;
};

/** `giveUp` leaves the queue. Without it, a cancelled caller stays in memory until its turn comes. */
type Turn = { readonly come: Promise<void>; readonly giveUp: () => void };

type Waiter = { readonly cancelled: () => boolean; readonly resolve: () => void };

/** `limit` is per turn of the event loop; with Infinity nobody waits. */
export function createGate(limit: number): Gate {
  const waiting = new Set<Waiter>();
  let left = limit;
  let isCounting = false;

  function nextTurn(): void {
    left = limit;
    for (const next of waiting) {
      if (left === 0) break;
      waiting.delete(next);
      if (next.cancelled()) continue;
      left -= 1;
      next.resolve();
    }
    isCounting = left < limit;
    if (isCounting) setImmediate(nextTurn);
  }

  return {
    waiting: () => waiting.size,
    enter(cancelled) {
      if (left > 0) {
        left -= 1;
        if (!isCounting && limit !== Number.POSITIVE_INFINITY) setImmediate(nextTurn);
        isCounting = true;
        return undefined;
      }
      const { promise, resolve } = deferred();
      const waiter = { cancelled, resolve };
      waiting.add(waiter);
      return { come: promise, giveUp: () => void waiting.delete(waiter) };
    },
  };
}
