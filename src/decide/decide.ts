/**
 * What the rules of a listener decide about a client: facts in, a decision or a refusal out. A
 * connection asks each question as soon as it knows enough; `explain`, `test`, `hello` and
 * `close_on_change` ask all of them at once.
 */

import {
  addressDenied,
  noRoute,
  peerUntrusted,
  plainRefused,
  type Refusal,
  routeDenied,
} from './refusals.ts';
import type { RouteQuery } from './router.ts';
import type { Destination, Rules } from './rules.ts';

/** What is known about a client. A condition on something unknown does not hold. */
export type Facts = RouteQuery & {
  /** The TCP peer: a normalized address, or `unix`. undefined: unknown, so it is not checked. */
  readonly peer: string | undefined;
};

/** The route that serves a client. */
export type Decision<R extends Destination = Destination> = {
  readonly kind: 'decision';
  readonly route: Served<R>;
  /** What the `*` in the route's name stood for, if it has one. */
  readonly wildcardLabel: string | undefined;
};

export type Served<R extends Destination> = R & { readonly kind: Exclude<R['kind'], 'deny'> };

/** Pure: the same rules and facts always give the same answer. */
export function decide<R extends Destination>(rules: Rules<R>, facts: Facts): Decision<R> | Refusal<R> {
  return admit(rules, facts) ?? chooseRoute(rules, heardBy(rules, facts));
}

/** What can be decided before the client has said anything. */
export function admit(rules: Rules, { peer, client }: Facts): Refusal<never> | undefined {
  const refused = peer === undefined ? undefined : admitPeer(rules, peer);
  return refused ?? (client === undefined ? undefined : admitAddress(rules, client));
}

/** Whether the peer may send the PROXY header that the listener requires. */
export function admitPeer({ name, trustsPeer }: Rules, peer: string): Refusal<never> | undefined {
  return trustsPeer === undefined || trustsPeer(peer) ? undefined : peerUntrusted(name, peer);
}

/** Whether `allow` and `deny` let in the client's address, which may come from a PROXY header. */
export function admitAddress({ name, allows }: Rules, address: string): Refusal<never> | undefined {
  return allows(address) ? undefined : addressDenied(name, address);
}

/**
 * A listener whose routes are all for plain clients reads no ClientHello, so it
 * takes every client for a plain one.
 */
export function heardBy({ takesTls }: Rules, facts: Facts): Facts {
  if (facts.plain || takesTls) return facts;
  return { ...facts, plain: true, sni: undefined, alpn: [], ja4: '' };
}

/**
 * If no route is for plain clients, they are refused before any route is consulted,
 * even one that would deny them.
 */
export function admitPlain(rules: Rules): Refusal<never> | undefined {
  return rules.takesPlain ? undefined : plainRefused(rules.protocol);
}

/** Which route serves a client that was let in. */
export function chooseRoute<R extends Destination>(rules: Rules<R>, facts: Facts): Decision<R> | Refusal<R> {
  const refused = facts.plain ? admitPlain(rules) : undefined;
  if (refused) return refused;
  const found = rules.routes.find(facts);
  if (found === undefined) return noRoute(rules.name, facts);
  const { route, wildcardLabel } = found;
  if (route.kind === 'deny') return routeDenied(route, facts);
  return { kind: 'decision', route: route as Served<R>, wildcardLabel };
}

/** Whether both lead to the same upstream in the same way. */
export function leadsAlike(one: Decision, other: Decision): boolean {
  return one.route.kind === other.route.kind && one.route.upstream === other.route.upstream;
}
