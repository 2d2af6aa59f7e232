/** What penstock would do with a client, as plain values. Nothing is dialled and no name is looked up. */
import type { LoadedConfig } from '../../config/load.ts';
import type { ListenerConfig, RouteConfig } from '../../config/schema/schema.ts';
import { admit, admitPeer, type Decision, decide, type Facts, heardBy } from '../../decide/decide.ts';
import type { Refusal } from '../../decide/refusals.ts';
import { buildRules, type Rules } from '../../decide/rules.ts';
import type { ConnectionCode } from '../../errors.ts';
import { type Considering, createConsidering, type Failure, type RouteVerdict } from '../../route/router.ts';
import type { AssumedClient } from '../client/assumed-client.ts';
import { type Admission, explainAdmission } from './admission.ts';
import { type ClientSide, type ClientSides, createClientSides } from './client-side.ts';
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
} & ClientOutcome;

/** As the flags of `explain` call it. */
export type Unsaid = 'from' | 'alpn' | 'ja4';

export type ExplainedRoute = {
  readonly route: string;
  readonly index: number;
  readonly failed: Failure | null;
  /** In words; null for the route that is taken. */
  readonly why: string | null;
};

type ClientOutcome = {
  readonly taken: {
    readonly route: string;
    readonly index: number;
    readonly action: 'terminate' | 'passthrough' | 'off' | 'deny';
    /** What the `*` of the route's `sni` stands for. */
    readonly wildcard: string | null;
  } | null;
  /** TLS of the route that is taken; null if it does not terminate TLS. */
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
  const tablesOf = (name: string, listener: ListenerConfig): Tables => {
    const made = tables.get(listener) ?? createTables(name, listener);
    tables.set(listener, made);
    return made;
  };

  return {
    async explain(name, client) {
      const listener = loaded.config.listeners[name];
      if (listener === undefined) throw new RangeError(`no listener is called "${name}"`);
      const { rules, consider } = tablesOf(name, listener);
      const facts = factsOf(client);
      const unread = heardBy(rules, facts) !== facts;
      const refused = admit(rules, facts);
      const start = {
        listener: name,
        bind: listener.bind,
        starttls: listener.starttls ?? null,
        client: describeClient(client),
        unread,
        proxy_header_from: listener.accept_proxy_protocol?.from ?? null,
        peer_trusted: isTrusted(rules, client.peer),
        admission: explainAdmission(listener, rules, client.address),
        undecided: [],
        routes: [],
      };
      if (refused) return { ...start, ...nowhere, code: refused.code };
      if (client.gone) return { ...start, ...nowhere, ...client.gone };
      const heard = unread ? asPlain(client) : client;
      const considered = explainRoutes(listener, rules, heard, consider);
      return {
        ...start,
        undecided: undecided(start.admission, considered, listener.routes, heard),
        routes: considered,
        ...(await outcomeOf(name, decide(rules, facts), heard, { loaded, sides })),
      };
    },
    close: sides.close,
  };
}

type Around = { readonly loaded: LoadedConfig; readonly sides: ClientSides };

/** What becomes of a client of the listener `name`, once it is decided. */
async function outcomeOf(
  name: string,
  decided: Decision | Refusal,
  client: AssumedClient,
  { loaded, sides }: Around,
): Promise<ClientOutcome> {
  const taken = takenBy(decided);
  if (decided.kind === 'refusal') return { ...nowhere, taken, code: decided.code };
  const { index, label, kind, upstream: to = '' } = decided.route;
  const listener = loaded.config.listeners[name];
  const tls = listener?.routes[index]?.tls;
  const its =
    typeof tls === 'object' ? await sides.explain(tls, { listener: name, route: label }, client) : undefined;
  const upstream = explainUpstream(loaded, to, {
    client,
    action: kind,
    agreedAlpn: its?.side.alpn.agreed ?? undefined,
    passedStarttls: kind === 'passthrough' ? listener?.starttls : undefined,
    wildcardLabel: decided.wildcardLabel,
  });
  // Where the client's side fails, nothing upstream is touched.
  const failure = its?.failure ?? upstream.failure;
  return {
    taken,
    tls: its?.side ?? null,
    upstream: its?.failure ? null : upstream.side,
    code: (failure?.code as ConnectionCode | undefined) ?? null, // of a connection, not of a process
    error: failure?.message ?? null,
    hint: failure?.hint ?? null,
  };
}

/** Made once for each listener. */
type Tables = { readonly rules: Rules; readonly consider: Considering };

function createTables(name: string, listener: ListenerConfig): Tables {
  return { rules: buildRules(name, listener), consider: createConsidering(listener.routes) };
}

function factsOf({ peer, address, plain, sni, alpn = [], ja4 = '' }: AssumedClient): Facts {
  return { peer, client: address, plain, sni, alpn, ja4 };
}

/** Null where no header is read, or nobody said who connects. */
function isTrusted(rules: Rules, peer: string | undefined): boolean | null {
  return rules.trustsPeer === undefined || peer === undefined ? null : admitPeer(rules, peer) === undefined;
}

/** What is known of a client to whose hello nobody listens. */
function asPlain(client: AssumedClient): AssumedClient {
  return { ...client, sni: undefined, alpn: [], ja4: undefined, hello: undefined, plain: true };
}

function takenBy(decided: Decision | Refusal): ClientOutcome['taken'] {
  if (decided.route === undefined) return null;
  const { label, index, kind } = decided.route;
  const wildcard = decided.kind === 'decision' ? decided.wildcardLabel : undefined;
  return { route: String(label), index, action: kind, wildcard: wildcard ?? null };
}

function explainRoutes(
  { routes }: ListenerConfig,
  { takesPlain }: Rules,
  client: AssumedClient,
  consider: Considering,
): ExplainedRoute[] {
  // Where no route is for plain clients, one of them is refused before any route is asked, a denial included.
  const understood = !client.plain || takesPlain;
  const verdicts: RouteVerdict[] = consider(factsOf(client)).map((verdict) =>
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
