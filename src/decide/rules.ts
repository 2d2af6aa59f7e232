/** The rules of a listener, ready to be asked: which peers it trusts, which addresses it lets in, which routes it has. */
import type { ListenerConfig, RouteConfig } from '../config/schema/schema.ts';
import { blockList, inBlockList } from '../net/address.ts';
import { atOnce, type Work } from '../process/pacer.ts';
import type { Protocol } from '../protocols/protocol.ts';
import { protocolOf } from '../protocols/table.ts';
import { takesPlain, takesTls } from '../route/kinds.ts';
import { type RouteQuery, type Router, routerOf } from '../route/router.ts';

/** What is asked of a listener's configuration; `R` is what its caller has for a route. */
export type Rules<R extends Destination = Destination> = {
  readonly name: string;
  /** The one in which clients ask for TLS; undefined: they begin with it. */
  readonly protocol: Protocol | undefined;
  /** Which peers may send the PROXY header that the listener requires; undefined: it reads none. */
  readonly trustsPeer: ((peer: string) => boolean) | undefined;
  readonly allows: (address: string) => boolean;
  /** Which kinds of client its routes are for. With plain ones only, nothing is peeked at. */
  readonly takesPlain: boolean;
  readonly takesTls: boolean;
  readonly routes: RouteTable<R>;
};

/** Where a route leads. */
export type Destination = {
  /** Its name, or else its index. */
  readonly label: string | number;
  readonly kind: 'deny' | 'terminate' | 'passthrough' | 'off';
  /** undefined for `deny`. */
  readonly upstream: string | undefined;
};

export type RouteTable<R> = {
  /** `wildcardLabel` is what `*` stood for, if the name was a `*`. */
  readonly find: (
    query: RouteQuery,
  ) => { readonly route: R; readonly wildcardLabel: string | undefined } | undefined;
  /** Nobody asks any more: the names may go, though open connections keep their listener. */
  readonly clear: () => void;
};

/** `routes` are those of the configuration, in the same order. */
export function buildRules<R extends Destination>(
  ...[name, config, routes]: Parameters<typeof rulesOf<R>>
): Rules<R> {
  return atOnce(rulesOf(name, config, routes));
}

/** The same, where others wait. */
export function* rulesOf<R extends Destination>(
  name: string,
  config: ListenerConfig,
  routes: readonly R[],
): Work<Rules<R>> {
  const from = config.accept_proxy_protocol?.from;
  return {
    name,
    protocol: protocolOf(config.starttls),
    trustsPeer: from && trustIn(from),
    allows: lettingIn(config),
    takesPlain: takesPlain(config.routes),
    takesTls: takesTls(config.routes),
    routes: createRouteTable(yield* routerOf(config.routes), routes),
  };
}

/** What a route does with its clients; `label` is as logs have it. */
export function destinationOf({ name, deny, tls, upstream }: RouteConfig, index: number): Destination {
  const label = name ?? index;
  if (deny) return { label, kind: 'deny', upstream: undefined };
  return { label, kind: typeof tls === 'string' ? tls : 'terminate', upstream };
}

/** Addresses and CIDRs, and `unix` for peers on a unix socket. */
function trustIn(from: readonly string[]): (peer: string) => boolean {
  const list = blockList(from.filter((entry) => entry !== 'unix'));
  const trustsUnix = from.includes('unix');
  return (peer) => (peer === 'unix' ? trustsUnix : inBlockList(list, peer));
}

function lettingIn({ allow, deny }: ListenerConfig): (address: string) => boolean {
  const allowed = allow && blockList(allow);
  const denied = deny && blockList(deny);
  return (address) =>
    !(denied && inBlockList(denied, address)) && !(allowed && !inBlockList(allowed, address));
}

/** It must know nothing else of its configuration, which an open connection would keep with it. */
function createRouteTable<R>(router: Router, routes: readonly R[]): RouteTable<R> {
  let table = { router, routes };
  return {
    find(query) {
      const match = table.router.match(query);
      const route = match && table.routes[match.index];
      return route && { route, wildcardLabel: match.wildcardLabel };
    },
    clear() {
      table = { router: { match: () => undefined }, routes: [] };
    },
  };
}
