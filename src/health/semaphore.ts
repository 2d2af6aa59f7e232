/** Bounds how many checks run at a time. */

export type Semaphore = { readonly acquire: () => Promise<void>; readonly release: () => void };

/** At most `limit` callers hold it; the others wait in order. */
export function createSemaphore(limit: number): Semaphore {
  const waiting: (() => void)[] = [];
  let free = limit;
  return {
    async acquire() {
      if (free > 0) free -= 1;
      else await new Promise<void>((resolve) => waiting.push(resolve));
    },
    release() {
      const next = waiting.shift();
      if (next) next();
      else free += 1;
    },
  };
}
