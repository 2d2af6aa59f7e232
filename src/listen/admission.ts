/** Who may come in, and how many: address lists, limits by listener and by client address, handshakes in progress. */
import { LRUCache } from 'lru-cache';
import { blockList, inBlockList, limitKey } from '../address.ts';
import type { ListenerConfig } from '../config/schema.ts';
import { ProxyError } from '../errors.ts';

/** Addresses whose rate is remembered. One that is forgotten starts with a full bucket. */
const rememberedAddresses = 100_000;

/** The admission rules of one listener. Counts live here for as long as the listener does. */
export type Admission = {
  /** Counts a connection in, or throws ERR_CONNECTION_LIMIT. Each is counted out by `leave`. */
  readonly enter: () => void;
  readonly leave: () => void;
  /**
   * Applies lists and per-address limits to the client's address, after a PROXY header if there is one. Returns what
   * counts the client out again; throws ERR_ADDRESS_DENIED, ERR_CONNECTION_LIMIT_PER_IP or ERR_RATE_LIMIT_PER_IP.
   */
  readonly admit: (client: string) => (() => void) | undefined;
};

export function createAdmission(config: Pick<ListenerConfig, 'allow' | 'deny' | 'limits'>): Admission {
  const allow = config.allow && blockList(config.allow);
  const deny = config.deny && blockList(config.deny);
  const { connections, connections_per_ip: perAddress, rate_per_ip: rate } = config.limits;
  const takeToken = rate === Number.POSITIVE_INFINITY ? undefined : createTokenBuckets(rate);
  const counts = new Map<string, number>();
  let open = 0;

  return {
    enter() {
      if (open >= connections) {
        throw refusal('ERR_CONNECTION_LIMIT', `${open} connections are open`, 'raise limits.connections');
      }
      open += 1;
    },
    leave() {
      open -= 1;
    },
    admit(client) {
      if ((deny && inBlockList(deny, client)) || (allow && !inBlockList(allow, client))) {
        throw refusal('ERR_ADDRESS_DENIED', `${client} is not let in`, "see the listener's allow and deny");
      }
      if (takeToken === undefined && perAddress === Number.POSITIVE_INFINITY) return undefined;
      const key = limitKey(client);
      if (takeToken && !takeToken(key)) {
        throw refusal('ERR_RATE_LIMIT_PER_IP', `${key} connects too often`, 'raise limits.rate_per_ip');
      }
      return countIn(counts, key, perAddress);
    },
  };
}

/**
 * Token buckets by key: `rate` a second, bursts of one second's worth (one at least). Memory is bounded; `now` is in ms.
 */
export function createTokenBuckets(rate: number): (key: string, now?: number) => boolean {
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

function countIn(counts: Map<string, number>, key: string, limit: number): (() => void) | undefined {
  if (limit === Number.POSITIVE_INFINITY) return undefined;
  const count = counts.get(key) ?? 0;
  if (count >= limit) {
    throw refusal(
      'ERR_CONNECTION_LIMIT_PER_IP',
      `${key} has ${count} connections open`,
      'raise limits.connections_per_ip',
    );
  }
  counts.set(key, count + 1);
  return () => {
    const left = (counts.get(key) ?? 1) - 1;
    if (left === 0) counts.delete(key);
    else counts.set(key, left);
  };
}

function refusal(
  code:
    | 'ERR_ADDRESS_DENIED'
    | 'ERR_CONNECTION_LIMIT'
    | 'ERR_CONNECTION_LIMIT_PER_IP'
    | 'ERR_RATE_LIMIT_PER_IP',
  message: string,
  hint: string,
): ProxyError {
  return new ProxyError(code, { side: 'proxy', message, hint });
}
