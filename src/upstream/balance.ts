/** Which endpoint a connection takes. Pure, except that round robin remembers whose turn it is. */
import type { UpstreamConfig } from '../config/schema/schema.ts';

/**
 * What balancing needs to know about an endpoint: `label` identifies it,
 * `state.active` is its number of connections.
 */
type Candidate = {
  readonly label: string;
  readonly weight: number;
  readonly priority: number;
  readonly state: { readonly active: number };
};

/**
 * Picks one of the candidates that share the lowest priority number, or undefined if there are none. A caller
 * that retries leaves out what it has tried. `key` is the input of `hash`.
 */
type Balancer<T extends Candidate> = (candidates: readonly T[], key: string) => T | undefined;

/** `random` returns a number from 0 up to, but not including, 1, as Math.random does. */
export function createBalancer<T extends Candidate>(
  kind: UpstreamConfig['balance'],
  random: () => number = Math.random,
): Balancer<T> {
  const choose = chooser<T>(kind, random);
  return (candidates, key) => {
    const first = firstPriority(candidates);
    return first.length < 2 ? first[0] : choose(first, key);
  };
}

function chooser<T extends Candidate>(kind: UpstreamConfig['balance'], random: () => number): Balancer<T> {
  switch (kind) {
    case 'round_robin':
      return roundRobin();
    case 'least_connections':
      return leastConnections();
    case 'random_two':
      return (candidates) => randomTwo(candidates, random);
    case 'hash':
      return rendezvous;
  }
}

function firstPriority<T extends Candidate>(candidates: readonly T[]): readonly T[] {
  let lowest = Number.POSITIVE_INFINITY;
  let mixed = false;
  for (const { priority } of candidates) {
    mixed ||= lowest !== Number.POSITIVE_INFINITY && priority !== lowest;
    lowest = Math.min(lowest, priority);
  }
  return mixed ? candidates.filter(({ priority }) => priority === lowest) : candidates;
}

/**
 * nginx's smooth weighted round robin: weights 5, 1, 1 give a a b a c a a rather than a a a a
 * a b c. Each candidate earns its weight in credit; the one with the most credit is taken,
 * and pays the sum of all weights.
 */
function roundRobin<T extends Candidate>(): Balancer<T> {
  const credit = new WeakMap<T, number>();
  return (candidates) => {
    let total = 0;
    let best: T | undefined;
    let most = Number.NEGATIVE_INFINITY;
    for (const candidate of candidates) {
      const has = (credit.get(candidate) ?? 0) + candidate.weight;
      credit.set(candidate, has);
      total += candidate.weight;
      if (has > most) {
        most = has;
        best = candidate;
      }
    }
    if (best) credit.set(best, most - total);
    return best;
  };
}

/**
 * Fewest connections relative to weight. Ties take turns, so that an idle upstream does not
 * always use its first endpoint.
 */
function leastConnections<T extends Candidate>(): Balancer<T> {
  const takeTurns = roundRobin<T>();
  return (candidates, key) => {
    let least = Number.POSITIVE_INFINITY;
    for (const candidate of candidates) least = Math.min(least, load(candidate));
    return takeTurns(
      candidates.filter((candidate) => load(candidate) === least),
      key,
    );
  };
}

/**
 * The less loaded of two random draws by weight: nearly as even as least_connections, without
 * everybody picking the same one.
 */
function randomTwo<T extends Candidate>(candidates: readonly T[], random: () => number): T | undefined {
  const one = draw(candidates, undefined, random);
  const other = draw(candidates, one, random);
  if (!one || !other) return one ?? other;
  return load(other) < load(one) ? other : one;
}

function draw<T extends Candidate>(
  candidates: readonly T[],
  except: T | undefined,
  random: () => number,
): T | undefined {
  let total = 0;
  for (const candidate of candidates) if (candidate !== except) total += candidate.weight;
  let left = random() * total;
  let last: T | undefined;
  for (const candidate of candidates) {
    if (candidate === except) continue;
    last = candidate;
    left -= candidate.weight;
    if (left < 0) break;
  }
  return last;
}

/**
 * Weighted rendezvous hashing (Thaler and Ravishankar; weights by -w / ln u): every endpoint draws a number
 * for the key, and the highest wins. When one of N endpoints leaves, only its own keys move, about 1/N. Every
 * worker and machine gets the same result.
 */
function rendezvous<T extends Candidate>(candidates: readonly T[], key: string): T | undefined {
  const keyHash = fnv1a(key);
  let best: T | undefined;
  let highest = Number.NEGATIVE_INFINITY;
  for (const candidate of candidates) {
    const drawn = mix(Math.imul(keyHash, 0x9e3779b1) ^ fnv1a(candidate.label));
    const score = -candidate.weight / Math.log((drawn + 0.5) / 2 ** 32);
    if (score > highest) {
      highest = score;
      best = candidate;
    }
  }
  return best;
}

function load({ state, weight }: Candidate): number {
  return state.active / weight;
}

function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}

/** The finalizer of MurmurHash3: every input bit affects every output bit. */
function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
