/**
 * Endpoints ejected after failed dials, by upstream and label: remembered for endpoint
 * states that are created later.
 */

/** An ejection as plain data; `forMs` is the time it has left. */
export type Ejection = {
  readonly upstream: string;
  readonly endpoint: string;
  readonly forMs: number;
  readonly reason: string;
};

export type Ejections = {
  readonly add: (ejection: Ejection) => void;
  /** Call it when a health check finds the endpoint down: that overrides the ejection, and ends it. */
  readonly end: (upstream: string, endpoint: string) => void;
  readonly find: (upstream: string, endpoint: string) => Ejection | undefined;
  readonly running: () => Ejection[];
};

/** Bounded, because the labels of templates come from names that clients choose. */
const maxKept = 10_000;

export function createEjections(): Ejections {
  /** Oldest first. */
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

/** Identifies an endpoint whichever configuration it is in. */
export function endpointKey(upstream: string, endpoint: string): string {
  return `${upstream} ${endpoint}`;
}
