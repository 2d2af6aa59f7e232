/** What penstock would do with a client, as plain values. Nothing is dialled and no name is looked up. */
import { blockList, inBlockList } from '../../address.ts';
import type { LoadedConfig } from '../../config/load.ts';
import type { ListenerConfig, RouteConfig } from '../../config/schema.ts';
import type { ConnectionCode } from '../../errors.ts';
import { buildRouter, considerAll, type Failure, type RouteQuery, type Verdict } from '../../route/router.ts';
import { type ClientSide, explainClientSide } from './client-side.ts';
import { labelOf, whyNotTaken } from './reasons.ts';
import { explainUpstream, type UpstreamSide } from './upstream-side.ts';

/** What is assumed of a client. Names and addresses are normalized. */
export type AssumedClient = {
  /** undefined: it sends no name. */
  readonly sni: string | undefined;
  readonly alpn: readonly string[];
  /** Or `unix`; undefined: nobody said. */
  readonly address: string | undefined;
  /** undefined: nobody said. */
  readonly ja4: string | undefined;
  /** It speaks no TLS. */
  readonly plain: boolean;
};

export type Explanation = {
  readonly listener: string;
  readonly bind: readonly string[];
  readonly starttls: string | null;
  readonly client: {
    readonly sni: string | null;
    readonly alpn: readonly string[];
    readonly address: string | null;
    readonly ja4: string | null;
    readonly plain: boolean;
  };
  /** The listener has routes for plain clients only, so that nothing of a TLS client's hello is read. */
  readonly unread: boolean;
  /** Who has to send a PROXY header; the client's address is the one that it tells. null: there is none. */
  readonly proxy_header_from: readonly string[] | null;
  /** `admitted` is null if it depends on an address that nobody said. */
  readonly admission: { readonly admitted: boolean | null; readonly why: string };
  /** In order of precedence, each with the first thing that failed; [] if the client does not come that far. */
  readonly routes: readonly ExplainedRoute[];
} & Outcome;

export type ExplainedRoute = {
  readonly route: string;
  readonly index: number;
  readonly failed: Failure | null;
  /** In words; null for the route that is taken. */
  readonly why: string | null;
};

type Outcome = {
  readonly taken: {
    readonly route: string;
    readonly index: number;
    readonly action: 'terminate' | 'passthrough' | 'off' | 'deny';
    /** What the `*` of the route's `sni` stands for. */
    readonly wildcard: string | null;
  } | null;
  /** Of the route that is taken; null if it does not terminate TLS. */
  readonly tls: ClientSide | null;
  readonly upstream: UpstreamSide | null;
  /** What the connection ends with, as far as that is known before anybody connects; null: it is served. */
  readonly code: ConnectionCode | null;
};

const nowhere = { taken: null, tls: null, upstream: null } as const;

/** Goes the way of a connection: admission, route, the client's side, the upstream's. */
export function explainClient(
  loaded: LoadedConfig,
  name: string,
  listener: ListenerConfig,
  client: AssumedClient,
): Explanation {
  const { bind, starttls = null, accept_proxy_protocol, routes } = listener;
  const { sni = null, alpn, address = null, ja4 = null, plain } = client;
  const admission = admit(listener, client.address);
  const unread = !plain && !routes.some(({ tls }) => tls !== 'off');
  const start = {
    listener: name,
    bind,
    starttls,
    client: { sni, alpn, address, ja4, plain },
    unread,
    proxy_header_from: accept_proxy_protocol?.from ?? null,
    admission,
  };
  if (admission.admitted === false) return { ...start, routes: [], ...nowhere, code: 'ERR_ADDRESS_DENIED' };
  const heard = unread ? { ...client, sni: undefined, alpn: [], ja4: undefined, plain: true } : client;
  const considered = consider(listener, heard);
  const outcome = explainOutcome(loaded, listener, heard);
  return { ...start, routes: considered, ...outcome };
}

function admit(
  { allow, deny }: ListenerConfig,
  address: string | undefined,
): { admitted: boolean | null; why: string } {
  if (!allow && !deny) return { admitted: true, why: 'the listener has neither `allow` nor `deny`' };
  if (address === undefined) {
    const lists = [allow && `allow: ${allow.join(', ')}`, deny && `deny: ${deny.join(', ')}`].filter(Boolean);
    return { admitted: null, why: `it depends on its address (--from); ${lists.join('; ')}` };
  }
  const denied = deny && entryWith(deny, address);
  if (denied) return { admitted: false, why: `${address} is in \`deny\` (${denied})` };
  if (!allow) return { admitted: true, why: `${address} is not in \`deny\`` };
  const allowed = entryWith(allow, address);
  return allowed
    ? { admitted: true, why: `${address} is in \`allow\` (${allowed})` }
    : { admitted: false, why: `${address} is not in \`allow\` (${allow.join(', ')})` };
}

function entryWith(cidrs: readonly string[], address: string): string | undefined {
  return cidrs.find((cidr) => inBlockList(blockList([cidr]), address));
}

/** What nobody said of a client fits no condition. */
function queryOf({ sni, alpn, address = '', ja4 = '', plain }: AssumedClient): RouteQuery {
  return { sni, alpn, client: address, ja4, plain };
}

/** Where no route is for plain clients, one of them is refused before any route is asked, a denial included. */
function isUnderstood({ routes }: ListenerConfig, { plain }: AssumedClient): boolean {
  return !plain || routes.some(({ tls }) => tls === 'off');
}

function consider(listener: ListenerConfig, client: AssumedClient): ExplainedRoute[] {
  const { routes } = listener;
  const understood = isUnderstood(listener, client);
  const verdicts: Verdict[] = considerAll(routes, queryOf(client)).map((verdict) =>
    understood ? verdict : { ...verdict, failed: 'tls' },
  );
  // The first has the most specific of the client's names; and one that is taken is before any that it came before.
  const first = verdicts.find(({ failed }) => failed !== 'tls');
  const taken = verdicts.find(({ failed }) => failed === undefined);
  return verdicts.map(({ index, failed = null }) => {
    const route = routes[index]!; // a verdict is about one of them
    const better = failed === 'order' ? taken : first;
    const why = failed && whyNotTaken(failed, route, client, better && labelOf(routes, better.index));
    return { route: labelOf(routes, index), index, failed, why };
  });
}

function explainOutcome(loaded: LoadedConfig, listener: ListenerConfig, client: AssumedClient): Outcome {
  if (!isUnderstood(listener, client)) {
    return { ...nowhere, code: listener.starttls ? 'ERR_STARTTLS_REQUIRED' : 'ERR_NOT_TLS' };
  }
  const match = buildRouter(listener.routes).match(queryOf(client));
  const route = match && listener.routes[match.index];
  if (!match || !route) return { ...nowhere, code: 'ERR_NO_ROUTE' };
  const { index, wildcardLabel } = match;
  const action = actionOf(route);
  const taken = { route: labelOf(listener.routes, index), index, action, wildcard: wildcardLabel ?? null };
  if (action === 'deny') return { ...nowhere, taken, code: 'ERR_ROUTE_DENIED' };
  const tls = typeof route.tls === 'object' ? explainClientSide(route.tls, loaded, client) : null;
  const upstream = explainUpstream(loaded, route.upstream ?? '', {
    client,
    action,
    agreedAlpn: tls?.alpn.agreed ?? undefined,
    passedStarttls: action === 'passthrough' ? listener.starttls : undefined,
    wildcardLabel,
  });
  return { taken, tls, upstream, code: tls?.alpn.fails ? 'ERR_TLS_ALPN_MISMATCH' : upstream.code };
}

function actionOf({ deny, tls }: RouteConfig): NonNullable<Outcome['taken']>['action'] {
  if (deny) return 'deny';
  return typeof tls === 'string' ? tls : 'terminate';
}
