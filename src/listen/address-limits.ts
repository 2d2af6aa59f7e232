/** Limits per client address: open connections, and new ones per second. IPv6 addresses count by /64. */
import { LRUCache } from 'lru-cache';
import type { ListenerConfig } from '../config/schema/schema.ts';
import type { Patience } from '../ipc/patience.ts';

/** How many addresses' rates are remembered. A forgotten address starts over with a full bucket. */
const rememberedAddresses = 100_000;

/** `in`, or the limit that the client has reached. */
export type AddressVerdict = 'in' | 'too_many' | 'too_often';

export type AddressLimits = {
  /** Counts a client in by its key (see `limitKey`), or returns the limit it has reached. */
  readonly enter: (key: string) => AddressVerdict | Promise<AddressVerdict>;
  /** Counts out a client that was let in. */
  readonly leave: (key: string) => void;
};

type Limits = Pick<ListenerConfig['limits'], 'connections_per_ip' | 'rate_per_ip'>;

/** Whether there is anything to count. */
export function hasAddressLimits({ connections_per_ip, rate_per_ip }: Limits): boolean {
  return connections_per_ip !== Number.POSITIVE_INFINITY || rate_per_ip !== Number.POSITIVE_INFINITY;
}

export type LocalAddressLimits = Omit<AddressLimits, 'enter'> & {
  readonly enter: (key: string) => AddressVerdict;
  readonly has: (key: string) => boolean;
  /** Sets new limits; open connections stay counted. */
  readonly setLimits: (limits: Limits) => void;
};

/** Counts in this process. */
export function createAddressLimits(initial: Limits): LocalAddressLimits {
  const open = new Map<string, number>();
  let limits = initial;
  let takeToken = createTokenBuckets(limits.rate_per_ip);
  return {
    enter(key) {
      if (!takeToken(key)) return 'too_often';
      const count = open.get(key) ?? 0;
      if (count >= limits.connections_per_ip) return 'too_many';
      open.set(key, count + 1);
      return 'in';
    },
    has: (key) => open.has(key),
    leave(key) {
      const left = (open.get(key) ?? 1) - 1;
      if (left === 0) open.delete(key);
      else open.set(key, left);
    },
    setLimits(next) {
      if (next.rate_per_ip !== limits.rate_per_ip) takeToken = createTokenBuckets(next.rate_per_ip);
      limits = next;
    },
  };
}

/** How to ask the process that counts for several. */
type AddressCounter = {
  readonly enter: (key: string) => Promise<AddressVerdict>;
  readonly leave: (key: string) => void;
};

/**
 * Lets another process count. While that one does not answer, `own` counts alone: an address may then have up
 * to its full limit again in each process.
 */
export function sharedAddressLimits(
  counter: AddressCounter,
  own: LocalAddressLimits,
  patience: Patience,
): AddressLimits {
  /** All connections of one address are equal, so those that only this process has counted leave first. */
  const leave = (key: string) => (own.has(key) ? own : counter).leave(key);
  return {
    leave,
    async enter(key) {
      if (patience.isSilent()) return own.enter(key);
      const answer = counter.enter(key);
      const verdict = await patience.within(answer);
      if (verdict !== undefined) return verdict;
      // A late answer would count the client twice.
      answer.then((late) => late === 'in' && leave(key), ignore);
      return own.enter(key);
    },
  };
}

function ignore(): void {}

/**
 * Token buckets by key: `rate` per second, with bursts of one second's worth (at least one); Infinity allows
 * everything. Memory is bounded; `now` is in ms.
 */
export function createTokenBuckets(rate: number): (key: string, now?: number) => boolean {
  if (rate === Number.POSITIVE_INFINITY) return () => true;
  const capacity = Math.max(1, rate);
  const buckets = new LRUCache<string, { tokens: number; at: number }>({ max: rememberedAddresses });
  return (key, now = performance.now()) => {
    let bucket = buckets.get(key);
    if (bucket === undefined) {
      bucket = { tokens: capacity, at: now };
      buckets.set(key, bucket);
    }
    bucket.tokens = Math.min(capacity, bucket.tokens + ((now - bucket.at) / 1000) * rate);
    bucket.at = now;
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  };
}
