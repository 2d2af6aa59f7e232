/** Lets a bounded number through at a time; the rest wait in order. */

export type Gate = {
  /**
   * Resolves when there is room; `leave` makes room again. `cancelled` is asked when the turn comes: whoever has gone
   * meanwhile is passed over and its promise stays pending, so it must not be awaited alone. undefined: came in at once.
   */
  readonly enter: (cancelled: () => boolean) => Promise<void> | undefined;
  readonly leave: () => void;
};

export function createGate(limit: number): Gate {
  const waiting: { cancelled: () => boolean; resolve: () => void }[] = [];
  let inside = 0;
  return {
    enter(cancelled) {
      if (inside < limit) {
        inside += 1;
        return undefined;
      }
      return new Promise((resolve) => waiting.push({ cancelled, resolve }));
    },
    leave() {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        if (next.cancelled()) continue;
        next.resolve();
        return;
      }
      inside -= 1;
    },
  };
}
