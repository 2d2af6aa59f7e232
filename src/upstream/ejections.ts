/** Endpoints that rest after failed dials, by upstream and label: for those who come to know them only meanwhile. */

/** An ejection, in plain data; `forMs` is the time that is left of it. */
export type Ejection = {
  readonly upstream: string;
  readonly endpoint: string;
  readonly forMs: number;
  readonly reason: string;
};

export type Ejections = {
  readonly add: (ejection: Ejection) => void;
  /** A health check found it down: that has the last word, and then the rest is over. */
  readonly end: (upstream: string, endpoint: string) => void;
  readonly find: (upstream: string, endpoint: string) => Ejection | undefined;
  readonly running: () => Ejection[];
};

/** Labels of templates come from names that clients choose. */
const maxKept = 10_000;

export function createEjections(): Ejections {
  /** The oldest first. */
  const kept = new Map<string, Ejection & { readonly until: number }>();

  function forgetOver(): void {
    const now = performance.now();
    for (const [key, { until }] of kept) if (until <= now) kept.delete(key);
  }

  function running(): Ejection[] {
    forgetOver();
    const now = performance.now();
    return [...kept.values()].map(({ until, ...ejection }) => ({ ...ejection, forMs: until - now }));
  }

  return {
    running,
    add(ejection) {
      forgetOver();
      const key = endpointKey(ejection.upstream, ejection.endpoint);
      kept.delete(key);
      kept.set(key, { ...ejection, until: performance.now() + ejection.forMs });
      const [oldest] = kept.keys();
      if (kept.size > maxKept && oldest !== undefined) kept.delete(oldest);
    },
    end: (upstream, endpoint) => void kept.delete(endpointKey(upstream, endpoint)),
    find(upstream, endpoint) {
      const found = kept.get(endpointKey(upstream, endpoint));
      if (found === undefined) return undefined;
      const { until, ...ejection } = found;
      const forMs = until - performance.now();
      return forMs > 0 ? { ...ejection, forMs } : undefined;
    },
  };
}

/** What is known of an endpoint, whichever configuration it is in, is kept under this. */
export function endpointKey(upstream: string, endpoint: string): string {
  return `${upstream} ${endpoint}`;
}
