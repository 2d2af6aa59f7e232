/** The supervisor's side of limits that workers share: which worker holds how much of which limit. */

/** Asks a worker to give back what it does not use of a limit; resolves with the amount, 0 if it has gone. */
type Reclaim = (worker: number, name: string) => Promise<number>;

/** Lends parts of limits that machines share. */
export type Lender = {
  /** The limits in force. */
  readonly setLimits: (limits: ReadonlyMap<string, number>) => void;
  /** How much of a limit is this machine's; undefined: all of it. */
  readonly partOf: (name: string) => number | undefined;
  /** Asks for a greater part; resolves when that was answered, which may be with nothing. */
  readonly more: (name: string) => Promise<void>;
};

export type Leases = {
  /** Sets the limits in force; limits of the former configuration that are not among them are dropped. */
  readonly setLimits: (limits: ReadonlyMap<string, number>) => void;
  /**
   * Grants up to `wanted` of a limit; first what is free, then, unless `onlyFree`, what other workers do not
   * use.
   */
  readonly request: (worker: number, name: string, wanted: number, onlyFree?: boolean) => Promise<number>;
  readonly giveBack: (worker: number, name: string, amount: number) => void;
  /** Records what a worker has taken without asking; nothing more is granted until enough was given back. */
  readonly claim: (worker: number, name: string, amount: number) => void;
  /** To be called when a worker died: frees what it held. */
  readonly release: (worker: number) => void;
  /** How much of a limit workers hold. */
  readonly held: (name: string) => number;
  /** Takes back what workers hold and do not use. */
  readonly reclaim: (name: string) => Promise<void>;
  /** Sets this machine's part of a limit. */
  readonly setPart: (name: string, part: number) => void;
};

/** `limit` is this machine's part, if machines share it. */
type Pool = { limit: number; readonly held: Map<number, number>; queue: Promise<unknown> };

/**
 * A worker that does not answer must not delay all others, whose own patience is longer: what it holds counts
 * as in use.
 */
const patienceMs = 250;

/** Waits `patience` ms for a worker; whatever it gives back later is recorded then. */
export function createLeases(
  reclaim: Reclaim,
  {
    patience = patienceMs,
    lender,
  }: { readonly patience?: number; readonly lender?: Lender | undefined } = {},
): Leases {
  const pools = new Map<string, Pool>();

  const free = (pool: Pool): number => pool.limit - sum(pool.held.values());

  async function grant(worker: number, name: string, wanted: number, onlyFree: boolean): Promise<number> {
    const pool = pools.get(name);
    if (pool === undefined) return 0;
    if (free(pool) <= 0 && !onlyFree) {
      await reclaimFrom(
        name,
        pool,
        [...pool.held.keys()].filter((other) => other !== worker),
      );
    }
    if (free(pool) < wanted && lender?.partOf(name) !== undefined && !onlyFree) {
      const asked = lender.more(name);
      if (free(pool) <= 0) await atMost(patience, asked);
    }
    // Do not grant everything to one worker: the others would have to reclaim it at once.
    const share = Math.max(1, Math.ceil(free(pool) / 2));
    const granted = Math.max(0, Math.min(wanted, share, free(pool)));
    if (granted > 0) pool.held.set(worker, (pool.held.get(worker) ?? 0) + granted);
    return granted;
  }

  function reclaimFrom(name: string, pool: Pool, workers: readonly number[]): Promise<void> {
    const given = workers.map(async (worker) => lower(pool, worker, await reclaim(worker, name)));
    return atMost(patience, Promise.all(given));
  }

  return {
    setLimits(limits) {
      lender?.setLimits(limits);
      for (const name of pools.keys()) if (!limits.has(name)) pools.delete(name);
      for (const [name, whole] of limits) {
        const limit = lender?.partOf(name) ?? whole;
        const pool = pools.get(name);
        if (pool) pool.limit = limit;
        else pools.set(name, { limit, held: new Map(), queue: Promise.resolve() });
      }
    },
    request(worker, name, wanted, onlyFree = false) {
      const pool = pools.get(name);
      if (pool === undefined) return Promise.resolve(0);
      // One at a time: two simultaneous reclaims would each take what the other needs.
      const turn = pool.queue.then(() => grant(worker, name, wanted, onlyFree));
      // The grant must be on its way before this worker can be asked to give back, or it would not yet know
      // what it has.
      pool.queue = turn.then(() => new Promise((resolve) => setImmediate(resolve)));
      return turn;
    },
    giveBack(worker, name, amount) {
      const pool = pools.get(name);
      if (pool) lower(pool, worker, amount);
    },
    claim(worker, name, amount) {
      const pool = pools.get(name);
      if (pool) lower(pool, worker, -amount);
    },
    release(worker) {
      for (const { held } of pools.values()) held.delete(worker);
    },
    held: (name) => sum(pools.get(name)?.held.values() ?? []),
    async reclaim(name) {
      const pool = pools.get(name);
      if (pool) await reclaimFrom(name, pool, [...pool.held.keys()]);
    },
    setPart(name, part) {
      const pool = pools.get(name);
      if (pool) pool.limit = part;
    },
  };
}

function lower({ held }: Pool, worker: number, amount: number): void {
  const left = (held.get(worker) ?? 0) - amount;
  if (left > 0) held.set(worker, left);
  else held.delete(worker);
}

async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
