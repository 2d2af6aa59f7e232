/** What penstock would do with a client, as plain values. Dials nothing and looks up no names. */
import type { LoadedConfig } from '../../config/load.ts';
import type { ListenerConfig, RouteConfig } from '../../config/schema/schema.ts';
import { admit, admitPeer, type Decision, decide, type Facts, heardBy } from '../../decide/decide.ts';
import type { Refusal } from '../../decide/refusals.ts';
import { type Considering, createConsidering, type Failure, type RouteVerdict } from '../../decide/router.ts';
import { buildRules, type Rules } from '../../decide/rules.ts';
import type { ConnectionCode } from '../../errors.ts';

import { protocolOf } from '../../protocols/table.ts';

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
  /** What clients of that protocol read before TLS; null if nothing. */
  readonly before_tls: string | null;
  readonly client: DescribedClient;
  /** The listener has only routes for plain clients, so a TLS client's hello is not read. */
  readonly unread: boolean;
  /**
   * The peers that must send a PROXY header, from which the client's address is then taken; null if none
   * must.
   */
  readonly proxy_header_from: readonly string[] | null;
  /** Whether the peer is one of them; null if there are none, or the peer was not stated. */
  readonly peer_trusted: boolean | null;
  /** `admitted` is null if it depends on an address that was not stated. */
  readonly admission: Admission;
  /** What was not stated about the client, but may change the outcome. */
  readonly undecided: readonly Unsaid[];
  /**
   * In order of precedence, each with the first condition that failed; [] if the client does not get that
   * far.
   */
  readonly routes: readonly ExplainedRoute[];
} & ClientOutcome;

/** Named like the flags of `explain`. */
export type Unsaid = 'from' | 'alpn' | 'ja4';

export type ExplainedRoute = {
  readonly route: string;
  readonly index: number;
  readonly failed: Failure | null;
  /** The reason; null for the route that is taken. */
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
  /** The code that the connection ends with, as far as that can be known in advance; null if it is served. */
  readonly code: ConnectionCode | null;
  /** The message, as logged; null if the code says everything. */
  readonly error: string | null;
  readonly hint: string | null;
};

const nowhere = { taken: null, tls: null, upstream: null, error: null, hint: null } as const;

/** Explains clients of one configuration. */
export type Explainer = {
  /**
   * Takes the client along the path of a connection at this listener: admission, route, its own side, the
   * upstream's side.
   */
  readonly explain: (listener: string, client: AssumedClient) => Promise<Explanation>;
  /** Ends the threads that ran checks of the user's own. */
  readonly close: () => Promise<void>;
};

/** `rehearses`: handshakes are begun with the configured keys; without it, only rules are looked at. */
export function createExplainer(
  loaded: LoadedConfig,
  { rehearses = true }: { rehearses?: boolean } = {},
): Explainer {
  const sides = createClientSides(loaded, rehearses);
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
        before_tls: protocolOf(listener.starttls)?.told ?? null,
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

/** What happens to a client of the listener `name` after the decision. */
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
  // If the client's side fails, the upstream is not contacted.
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

/** null if no header is read, or the peer was not stated. */
function isTrusted(rules: Rules, peer: string | undefined): boolean | null {
  return rules.trustsPeer === undefined || peer === undefined ? null : admitPeer(rules, peer) === undefined;
}

/** What is known about a client whose hello is not read. */
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
  // If no route is for plain clients, a plain client is refused before any route is tried, including denials.
  const understood = !client.plain || takesPlain;
  const verdicts: RouteVerdict[] = consider(factsOf(client)).map((verdict) =>
    understood ? verdict : { ...verdict, failed: 'tls' },
  );
  // The first matches the client's most specific name; and a route that is taken precedes all that it beats.
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
 * A route whose condition depends on something not stated might be taken, unless an earlier one is. And
 * without a common protocol no handshake succeeds.
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
