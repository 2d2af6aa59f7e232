/** Names to addresses, the way the system does it (hosts file, search domains), remembered for a while. */

import { lookup as systemLookup } from 'node:dns';
import { isIP } from 'node:net';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { ProxyError, systemCode } from '../errors.ts';
import type { Signal } from '../net/abort-signal.ts';
import { normalizeAddress } from '../net/address.ts';
import { untilAborted } from './deadline.ts';
import { createLookUps, type Lookup, maxWaiting } from './look-up.ts';

export type Resolver = {
  /**
   * The addresses of a name, at least one, normalized, in the system's order. An answer is used for `ttlMs`.
   * After that, the next caller asks again and waits; if there is an older good answer, it waits a second at
   * most, and gets the older answer then, or if the new look-up fails. A failure is remembered for a second.
   * Addresses are returned as they are. Throws ERR_UPSTREAM_RESOLVE, or the signal's reason; the look-up
   * itself cannot be stopped, and serves later callers.
   */
  resolve(host: string, ttlMs: number, signal?: Signal): Promise<readonly string[]>;
};

/** What is known about a name: its last good answer, and any failure since. */
type Known = {
  readonly addresses: readonly string[] | undefined;
  readonly answeredAt: number;
  readonly failure: ProxyError | undefined;
  readonly failedAt: number;
};

const maxNames = 10_000;
const failureTtlMs = 1000;
const patienceMs = 1000;

/**
 * A resolver with its own memory, which drops the least recently used names. `lookup` is the system's unless
 * given. Logs when older answers come to be used.
 */
export function createResolver({
  lookup = systemLookup,
  logger,
}: {
  readonly lookup?: Lookup;
  readonly logger?: Pick<Logger, 'warn' | 'info'>;
} = {}): Resolver {
  const outdated = watchOutdated(logger);
  const names = new LRUCache<string, Known>({
    max: maxNames,
    noDisposeOnSet: true,
    dispose: (_, name) => outdated.forget(name),
  });
  const underway = new Map<string, Promise<readonly string[]>>();
  const lookUps = createLookUps(lookup);

  /** One look-up of a name, shared by all callers that ask meanwhile. */
  function ask(name: string, known: Known | undefined): Promise<readonly string[]> {
    const older = known?.addresses;
    const answer = new Promise<readonly string[]>((resolve, reject) => {
      const patience = older && setTimeout(() => resolve(older), patienceMs);
      const settle = (outcome: Known) => {
        clearTimeout(patience);
        if (underway.get(name) === answer) underway.delete(name);
        names.set(name, outcome);
        outdated.settled(name, outcome);
        if (outcome.addresses) resolve(outcome.addresses);
        else reject(outcome.failure);
      };
      lookUps.ask(name, older !== undefined, (error, answers) => settle(judge(name, known, error, answers)));
    });
    underway.set(name, answer);
    // By the time it fails, nobody may be waiting any more.
    answer.catch(() => {});
    return answer;
  }

  return {
    async resolve(host, ttlMs, signal) {
      if (isIP(host) !== 0) return [host.includes('%') ? host : normalizeAddress(host)];
      if (looksLikeAddress(host)) throw unresolvable(host, 'is neither a name nor an address', undefined);
      const name = host.toLowerCase();
      const known = names.get(name);
      const settled = known && withoutAsking(known, ttlMs);
      if (settled) return settled;
      const shared = underway.get(name);
      if (!shared && lookUps.isFull()) return known?.addresses ?? tooMany(name);
      const answer = shared ?? ask(name, known);
      return signal ? untilAborted(answer, signal) : answer;
    },
  };
}

const againMs = 600_000;

/**
 * Nobody notices that a name server is gone as long as older answers are good: says so for the first name,
 * again every ten minutes while more fail, and when all can be looked up again.
 */
function watchOutdated(logger: Pick<Logger, 'warn' | 'info'> | undefined) {
  const names = new Set<string>();
  let saidAt = Number.NEGATIVE_INFINITY;
  function forget(name: string): void {
    if (!names.delete(name) || names.size > 0) return;
    saidAt = Number.NEGATIVE_INFINITY;
    logger?.info('names of upstreams can be looked up again');
  }
  return {
    forget,
    settled(name: string, { addresses, failure }: Known): void {
      if (addresses === undefined || failure === undefined) {
        forget(name);
        return;
      }
      names.add(name);
      if (performance.now() - saidAt < againMs) return;
      saidAt = performance.now();
      logger?.warn(
        { error: failure.message, hint: failure.hint, names: names.size },
        'names of upstreams cannot be looked up: their last addresses are used',
      );
    },
  };
}

/**
 * Whether `getaddrinfo` would take a host for an IPv4 address in one of its older spellings
 * (`10.1`, `0x7f000001`): its last label is a number (WHATWG URL, "ends in a number"). Also
 * true for a normal dotted quad.
 */
export function looksLikeAddress(host: string): boolean {
  const bare = host.endsWith('.') ? host.slice(0, -1) : host;
  return /^(\d+|0x[0-9a-f]*)$/i.test(bare.slice(bare.lastIndexOf('.') + 1));
}

/** The answer, if it needs no waiting; throws if the name failed just now and there is no older answer. */
function withoutAsking(known: Known, ttlMs: number): readonly string[] | undefined {
  const now = performance.now();
  if (known.addresses && now - known.answeredAt < ttlMs) return known.addresses;
  if (!known.failure || now - known.failedAt >= failureTtlMs) return undefined;
  if (!known.addresses) throw known.failure;
  return known.addresses;
}

function judge(
  name: string,
  known: Known | undefined,
  error: NodeJS.ErrnoException | null,
  answers: readonly { address: string }[],
): Known {
  if (error) {
    return failed(known, unresolvable(name, `does not resolve (${systemCode(error)})`, error));
  }
  const addresses = [...new Set(answers.map(({ address }) => normalizeAddress(address)))].filter(isIP);
  if (addresses.length === 0) return failed(known, unresolvable(name, 'has no address', undefined));
  return { addresses, answeredAt: performance.now(), failure: undefined, failedAt: 0 };
}

function failed(known: Known | undefined, failure: ProxyError): Known {
  return {
    addresses: known?.addresses,
    answeredAt: known?.answeredAt ?? 0,
    failure,
    failedAt: performance.now(),
  };
}

function unresolvable(name: string, what: string, cause: unknown): ProxyError {
  return new ProxyError('ERR_UPSTREAM_RESOLVE', {
    side: 'upstream',
    message: `the name ${name} ${what}`,
    hint: `check the name, and what \`getent hosts ${name}\` says on this machine`,
    cause,
  });
}

function tooMany(name: string): never {
  throw new ProxyError('ERR_UPSTREAM_RESOLVE', {
    side: 'proxy',
    message: `${name} was not looked up: ${maxWaiting} other names wait for the system's answer`,
    hint: 'check that the name server answers quickly; a local cache (nscd, systemd-resolved, unbound) helps',
  });
}
