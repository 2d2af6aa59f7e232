/** Lets a bounded number through at a time; the rest wait in order. */

export type Gate = {
  /**
   * undefined: came in at once. Otherwise `come` resolves when there is room; `leave` makes room again. `cancelled` is asked
   * when the turn comes: whoever has gone meanwhile is passed over and its promise stays pending, so it must not be awaited
   * alone.
   */
  readonly enter: (cancelled: () => boolean) => Turn | undefined;
  readonly leave: () => void;
  /** How many wait. */
  readonly waiting: () => number;
};

/** `giveUp` takes a place out of the queue, which otherwise remembers even those who have gone until their turn comes. */
export type Turn = { readonly come: Promise<void>; readonly giveUp: () => void };

type Waiter = { readonly cancelled: () => boolean; readonly resolve: () => void };

export function createGate(limit: number): Gate {
  const waiting = new Set<Waiter>();
  let inside = 0;
  return {
    waiting: () => waiting.size,
    enter(cancelled) {
      if (inside < limit) {
        inside += 1;
        return undefined;
      }
      const { promise, resolve } = deferred();
      const waiter = { cancelled, resolve };
      waiting.add(waiter);
      return { come: promise, giveUp: () => void waiting.delete(waiter) };
    },
    leave() {
      for (const next of waiting) {
        waiting.delete(next);
        if (next.cancelled()) continue;
        next.resolve();
        return;
      }
      inside -= 1;
    },
  };
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void; // set by the executor, which runs at once
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
