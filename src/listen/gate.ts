/**
 * Paces what computes: so many go ahead in one turn of the event loop, the rest wait in order, and whatever else is served is
 * served in between. Whoever has gone ahead holds no place: a client that is silent then keeps nobody from anything.
 */
import { deferred } from '../process/deferred.ts';

export type Gate = {
  /**
   * undefined: go ahead at once. Otherwise `come` resolves when the turn has come. `cancelled` is asked then: whoever has gone
   * meanwhile is passed over and its promise stays pending, so it must not be awaited alone.
   */
  readonly enter: (cancelled: () => boolean) => Turn | undefined;
  /** How many wait. */
  readonly waiting: () => number;
};

/** `giveUp` takes a place out of the queue, which otherwise remembers even those who have gone until their turn comes. */
type Turn = { readonly come: Promise<void>; readonly giveUp: () => void };

type Waiter = { readonly cancelled: () => boolean; readonly resolve: () => void };

/** `limit` a turn; Infinity: nobody waits. */
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
