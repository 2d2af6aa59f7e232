/**
 * A listener's rules, ready for use: which peers it trusts, which addresses it lets in, which routes it has.
 */
import { LRUCache } from 'lru-cache';
import { type Form, labelOf, type RoutingTable, tableOf } from '../config/routes/routing-table.ts';
import type { ListenerConfig } from '../config/schema/schema.ts';
import { blockList, inBlockList } from '../net/address.ts';
import { atOnce, type Work } from '../process/pacer.ts';
import type { Protocol } from '../protocols/protocol.ts';
import { protocolOf } from '../protocols/table.ts';
import { type RouteQuery, type Router, routerOf } from './router.ts';

/** What decisions need from a listener's configuration; `R` is what the caller uses as a route. */
export type Rules<R extends Destination = Destination> = {
  readonly name: string;
  /** The protocol in which clients ask for TLS; undefined: they start with TLS. */
  readonly protocol: Protocol | undefined;
  /** Which peers may send the PROXY header that the listener requires; undefined: it reads none. */
  readonly trustsPeer: ((peer: string) => boolean) | undefined;
  readonly allows: (address: string) => boolean;
  /** Which kinds of client its routes are for. If only for plain ones, nothing is peeked at. */
  readonly takesPlain: boolean;
  readonly takesTls: boolean;
  readonly routes: RouteTable<R>;
};

/** What a route does with its clients, and where it leads them. Routes that differ only in names share it. */
export type Treatment = {
  readonly kind: 'deny' | 'terminate' | 'passthrough' | 'off';
  /** undefined for `deny`. */
  readonly upstream: string | undefined;
  /** It denies because an object of the cluster is faulty. */
  readonly held?: true;
};

/** One route. */
export type Destination = Treatment & {
  /** Its position in the list. */
  readonly index: number;
  /** What logs call it: its name, or else its index. */
  readonly label: string | number;
};

export type RouteTable<R> = {
  /** `wildcardLabel` is what the `*` in the route's name stood for, if it has one. */
  readonly find: (
    query: RouteQuery,
  ) => { readonly route: R; readonly wildcardLabel: string | undefined } | undefined;
  /**
   * Call it when nobody looks up routes any more: frees the names, although open
   * connections keep their listener.
   */
  readonly clear: () => void;
};

/** The rules of a configured listener. */
export function buildRules(name: string, config: ListenerConfig): Rules {
  const table = atOnce(tableOf(config.routes));
  return atOnce(rulesOf(name, config, table, table.forms.map(treatmentOf)));
}

/**
 * The same from an existing table, in slices that let other work run. `treatments` belong
 * to its forms, in the same order.
 */
export function* rulesOf<T extends Treatment>(
  name: string,
  config: Omit<ListenerConfig, 'routes'>,
  table: RoutingTable,
  treatments: readonly T[],
): Work<Rules<T & Destination>> {
  const from = config.accept_proxy_protocol?.from;
  return {
    name,
    protocol: protocolOf(config.starttls),
    trustsPeer: from && trustIn(from),
    allows: lettingIn(config),
    takesPlain: table.kinds.includes('plain'),
    takesTls: table.kinds.includes('tls'),
    routes: createRouteTable(yield* routerOf(table), table, treatments),
  };
}

export function treatmentOf({ deny, tls, upstream }: Form): Treatment {
  if (deny) return { kind: 'deny', upstream: undefined, ...(deny === 'held' && { held: true }) };
  return { kind: typeof tls === 'string' ? tls : 'terminate', upstream };
}

/** Addresses and CIDRs, and `unix` for peers on a unix socket. */
function trustIn(from: readonly string[]): (peer: string) => boolean {
  const list = blockList(from.filter((entry) => entry !== 'unix'));
  const trustsUnix = from.includes('unix');
  return (peer) => (peer === 'unix' ? trustsUnix : inBlockList(list, peer));
}

function lettingIn({ allow, deny }: Omit<ListenerConfig, 'routes'>): (address: string) => boolean {
  const allowed = allow && blockList(allow);
  const denied = deny && blockList(deny);
  return (address) =>
    !(denied && inBlockList(denied, address)) && !(allowed && !inBlockList(allowed, address));
}

/** Must not refer to the rest of its configuration: an open connection would keep all of it alive. */
function createRouteTable<T extends Treatment>(
  router: Router,
  { labels }: RoutingTable,
  treatments: readonly T[],
): RouteTable<T & Destination> {
  let table = { router, labels, treatments };
  const recent = new LRUCache<number, T & Destination>({ max: recentRoutes });
  return {
    find(query) {
      const match = table.router.match(query);
      const treatment = match && table.treatments[match.form];
      if (match === undefined || treatment === undefined) return undefined;
      const { index, wildcardLabel } = match;
      let route = recent.get(index);
      if (route === undefined) {
        route = { ...treatment, index, label: labelOf(table.labels, match) };
        recent.set(index, route);
      }
      return { route, wildcardLabel };
    },
    clear() {
      table = { router: { match: () => undefined }, labels: [], treatments: [] };
      recent.clear();
    },
  };
}

/** How many routes to keep as objects, besides the text that holds all of them. */
const recentRoutes = 1000;
