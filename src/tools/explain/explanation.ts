/** What penstock would do with a client, as plain values. Nothing is dialled and no name is looked up. */
import type { LoadedConfig } from '../../config/load.ts';
import type { ListenerConfig, RouteConfig } from '../../config/schema/schema.ts';
import type { ConnectionCode } from '../../errors.ts';
import { takesPlain, takesTls } from '../../route/kinds.ts';
import {
  buildRouter,
  type Considering,
  createConsidering,
  type Failure,
  type RouteQuery,
  type Router,
  type Verdict,
} from '../../route/router.ts';
import type { AssumedClient } from '../client/assumed-client.ts';
import { type Admission, admitAddress, trustPeer } from './admission.ts';
import { type ClientSide, createClientSides } from './client-side.ts';
import { type DescribedClient, describeClient } from './describe-client.ts';
import { labelOf, whyNotTaken } from './reasons.ts';
import { explainUpstream, type UpstreamSide } from './upstream-side.ts';

export type Explanation = {
  readonly listener: string;
  readonly bind: readonly string[];
  readonly starttls: string | null;
  readonly client: DescribedClient;
  /** The listener has routes for plain clients only, so that nothing of a TLS client's hello is read. */
  readonly unread: boolean;
  /** Who has to send a PROXY header; the client's address is the one that it tells. null: there is none. */
  readonly proxy_header_from: readonly string[] | null;
  /** Whether the peer is one of them; null if there is none, or nobody said who connects. */
  readonly peer_trusted: boolean | null;
  /** `admitted` is null if it depends on an address that nobody said. */
  readonly admission: Admission;
  /** What nobody said of the client and all this may depend on. */
  readonly undecided: readonly Unsaid[];
  /** In order of precedence, each with the first thing that failed; [] if the client does not come that far. */
  readonly routes: readonly ExplainedRoute[];
} & Outcome;

/** As the flags of `explain` call it. */
export type Unsaid = 'from' | 'alpn' | 'ja4';

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
  /** In words, as the log has them; null where the code says it all. */
  readonly error: string | null;
  readonly hint: string | null;
};

const nowhere = { taken: null, tls: null, upstream: null, error: null, hint: null } as const;

/** Explains clients of one configuration. */
export type Explainer = {
  /** `listener` is the name of one; the client goes the way of a connection: admission, route, its side, the upstream's. */
  readonly explain: (listener: string, client: AssumedClient) => Promise<Explanation>;
  /** Ends the threads in which checks of the user's own have run. */
  readonly close: () => Promise<void>;
};

export function createExplainer(loaded: LoadedConfig): Explainer {
  const sides = createClientSides(loaded);
  const tables = new Map<ListenerConfig, Tables>();
  const tablesOf = (listener: ListenerConfig): Tables => {
    const { routes } = listener;
    const made = tables.get(listener) ?? { router: buildRouter(routes), consider: createConsidering(routes) };
    tables.set(listener, made);
    return made;
  };

  async function outcomeOf(name: string, listener: ListenerConfig, client: AssumedClient): Promise<Outcome> {
    if (client.plain && !takesPlain(listener.routes)) {
      return { ...nowhere, code: listener.starttls ? 'ERR_STARTTLS_REQUIRED' : 'ERR_NOT_TLS' };
    }
    const match = tablesOf(listener).router.match(queryOf(client));
    const route = match && listener.routes[match.index];
    if (!match || !route) return { ...nowhere, code: 'ERR_NO_ROUTE' };
    const { index, wildcardLabel } = match;
    const action = actionOf(route);
    const label = labelOf(listener.routes, index);
    const taken = { route: label, index, action, wildcard: wildcardLabel ?? null };
    if (action === 'deny') return { ...nowhere, taken, code: 'ERR_ROUTE_DENIED' };
    const place = { listener: name, route: route.name ?? index };
    const tls = typeof route.tls === 'object' ? await sides.explain(route.tls, place, client) : undefined;
    const upstream = explainUpstream(loaded, route.upstream ?? '', {
      client,
      action,
      agreedAlpn: tls?.side.alpn.agreed ?? undefined,
      passedStarttls: action === 'passthrough' ? listener.starttls : undefined,
      wildcardLabel,
    });
    // Where the client's side fails, nothing upstream is touched.
    const failure = tls?.failure ?? upstream.failure;
    return {
      taken,
      tls: tls?.side ?? null,
      upstream: tls?.failure ? null : upstream.side,
      code: (failure?.code as ConnectionCode | undefined) ?? null, // of a connection, not of a process
      error: failure?.message ?? null,
      hint: failure?.hint ?? null,
    };
  }

  return {
    async explain(name, client) {
      const listener = loaded.config.listeners[name];
      if (listener === undefined) throw new RangeError(`no listener is called "${name}"`);
      const { bind, starttls = null, accept_proxy_protocol, routes } = listener;
      const unread = !client.plain && !takesTls(routes);
      const trusted = trustPeer(listener, client.peer);
      const admission = admitAddress(listener, client.address);
      const start = {
        listener: name,
        bind,
        starttls,
        client: describeClient(client),
        unread,
        proxy_header_from: accept_proxy_protocol?.from ?? null,
        peer_trusted: trusted,
        admission,
        undecided: [],
        routes: [],
      };
      if (trusted === false) return { ...start, ...nowhere, code: 'ERR_PROXY_HEADER_UNTRUSTED' };
      if (admission.admitted === false) return { ...start, ...nowhere, code: 'ERR_ADDRESS_DENIED' };
      if (client.gone) return { ...start, ...nowhere, ...client.gone };
      const heard = unread ? asPlain(client) : client;
      const considered = consider(listener, heard, tablesOf(listener).consider);
      return {
        ...start,
        undecided: undecided(admission, considered, routes, heard),
        routes: considered,
        ...(await outcomeOf(name, listener, heard)),
      };
    },
    close: sides.close,
  };
}

/** Made once for each listener. */
type Tables = { readonly router: Router; readonly consider: Considering };

/** What is known of a client to whose hello nobody listens. */
function asPlain(client: AssumedClient): AssumedClient {
  return { ...client, sni: undefined, alpn: [], ja4: undefined, hello: undefined, plain: true };
}

/** What nobody said of a client fits no condition. */
function queryOf({ sni, alpn = [], address = '', ja4 = '', plain }: AssumedClient): RouteQuery {
  return { sni, alpn, client: address, ja4, plain };
}

function consider(
  { routes }: ListenerConfig,
  client: AssumedClient,
  considerAll: Tables['consider'],
): ExplainedRoute[] {
  // Where no route is for plain clients, one of them is refused before any route is asked, a denial included.
  const understood = !client.plain || takesPlain(routes);
  const verdicts: Verdict[] = considerAll(queryOf(client)).map((verdict) =>
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

/**
 * A route whose condition asks for what nobody said would be taken if that were right, unless one before it is. And without
 * a protocol in common no handshake succeeds.
 */
function undecided(
  { admitted }: Admission,
  considered: readonly ExplainedRoute[],
  routes: readonly RouteConfig[],
  { alpn, address, ja4 }: AssumedClient,
): Unsaid[] {
  const unsaid = new Set<Unsaid>(admitted === null ? ['from'] : []);
  for (const { failed, index } of considered) {
    if (failed === null) {
      const tls = routes[index]?.tls;
      if (alpn === undefined && typeof tls === 'object' && tls.alpn) unsaid.add('alpn');
      break;
    }
    if (failed === 'from' && address === undefined) unsaid.add('from');
    if (failed === 'alpn' && alpn === undefined) unsaid.add('alpn');
    if (failed === 'ja4' && ja4 === undefined) unsaid.add('ja4');
  }
  return [...unsaid];
}

function actionOf({ deny, tls }: RouteConfig): NonNullable<Outcome['taken']>['action'] {
  if (deny) return 'deny';
  return typeof tls === 'string' ? tls : 'terminate';
}
