/** Turns the decisions about each kind of client into penstock's routes. */
import { type Clients, clientsOf, kindsOf, patternsAbove, spellingOf } from './clients.ts';
import type { Entry } from './decision.ts';
import { cidrsOf, complement, isEverywhere } from './networks.ts';

/**
 * A route as in the file, with its comment. `unclear`: why it is not known what the other proxy does with
 * these clients.
 */
export type RouteDraft = {
  readonly value: Readonly<Record<string, unknown>>;
  readonly comment?: string;
  readonly unclear?: string;
};

/** What happens to clients that are let through; `refused` says why they are refused after all. */
export type Handling =
  /** `name`: of the route, for logs. */
  | { readonly tls: object | 'passthrough' | 'off'; readonly upstream: string; readonly name?: string }
  | { readonly refused: string };

export type Routing<Target> = {
  /** The names and patterns that matter. */
  readonly patterns: readonly string[];
  readonly decideFor: (clients: Clients) => readonly Entry<Target>[];
  readonly handle: (entry: Entry<Target>, target: Target, clients: Clients) => Handling;
};

/** The routes for clients that speak TLS. Names with the same decision share a route. */
export function routesByName<Target>(routing: Routing<Target>): RouteDraft[] {
  return grouped(decisions(routing));
}

/** Those of one name or pattern; '' stands for clients of any other name, or of none. */
export function routesOfName<Target>(routing: Routing<Target>, name: string): RouteDraft[] {
  const concerned = new Set([name, ...(name === '' ? [] : patternsAbove(clientsOf(name)))]);
  const made = decisions({ ...routing, patterns: routing.patterns.filter((one) => concerned.has(one)) });
  const own = name === '' ? ['*', ''] : [name];
  return grouped(new Map([...made].filter(([one]) => own.includes(one))));
}

/** By name, where the decision differs from that of the pattern above. */
function decisions<Target>(routing: Routing<Target>): Map<string, Kind> {
  const kept = new Map<string, Kind>();
  for (const clients of kindsOf(routing.patterns)) {
    const sni = spellingOf(clients) ?? '';
    const above = patternsAbove(clients).find((pattern) => kept.has(pattern)) ?? '';
    const parent = sni === '' ? undefined : kept.get(above);
    const rows = rowsOf(routing, clients);
    // Undecided means refused; without its own route the name would fall to the next pattern.
    const own = rows.length === 0 && parent && parent.rows.length > 0 ? [refusal(undefined)] : rows;
    const key = JSON.stringify(own);
    if (parent?.key !== key) kept.set(sni, { rows: own, key });
  }
  return withoutWayOn(kept);
}

/** The routes for clients that speak no TLS, or of a listener that inspects nothing. */
export function plainRoutes<Target>({ decideFor, handle }: Omit<Routing<Target>, 'patterns'>): RouteDraft[] {
  return rowsOf({ patterns: [], decideFor, handle }, { kind: 'plain' });
}

type Kind = { readonly rows: readonly RouteDraft[]; readonly key: string };

function rowsOf<Target>({ decideFor, handle }: Routing<Target>, clients: Clients): RouteDraft[] {
  return withoutComplement(decideFor(clients)).map((entry) => {
    const conditions = {
      ...(entry.alpn && { alpn: entry.alpn }),
      ...(!isEverywhere(entry.from) && { from: cidrsOf(entry.from) }),
    };
    if (entry.to === undefined) return refusal(entry.because, conditions, entry.unclear);
    const handled = handle(entry, entry.to, clients);
    return 'refused' in handled
      ? refusal(handled.refused, conditions, handled.refused)
      : withUnclear({ value: { ...conditions, ...handled } }, entry.unclear);
  });
}

/**
 * If all clients are refused except those from some networks, it is simpler to name these networks in `from`.
 */
function withoutComplement<Target>(entries: readonly Entry<Target>[]): readonly Entry<Target>[] {
  const [denied, last] = entries.slice(-2);
  if (!denied || !last || denied.to !== undefined || last.to === undefined) return entries;
  if (denied.alpn || denied.unclear || last.alpn || !isEverywhere(last.from)) return entries;
  const from = complement(denied.from);
  const isShorter = cidrsOf(from).length < cidrsOf(denied.from).length;
  return isShorter ? [...entries.slice(0, -2), { ...last, from }] : entries;
}

function refusal(comment: string | undefined, conditions = {}, unclear?: string): RouteDraft {
  const route = { value: { ...conditions, deny: true }, ...(comment !== undefined && { comment }) };
  return withUnclear(route, unclear);
}

function withUnclear(route: RouteDraft, unclear: string | undefined): RouteDraft {
  return unclear === undefined ? route : { ...route, unclear };
}

/** The routes of a listener; without any it refuses all clients, `unclear` whether rightly. */
export function orRefusesAll(routes: readonly RouteDraft[], unclear?: string): readonly RouteDraft[] {
  return routes.length > 0 ? routes : [refusal('nothing could be carried over', {}, unclear)];
}

/** Makes route names unique by numbers. */
export function withNames(routes: readonly RouteDraft[]): RouteDraft[] {
  const seen = new Map<unknown, number>();
  return routes.map((route) => {
    const name = route.value['name'];
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    return name === undefined || count === 1
      ? route
      : { ...route, value: { ...route.value, name: `${name}-${count}` } };
  });
}

/**
 * In penstock, `*.name` for one label and for any depth have the same rank: clients that the former does not
 * take would fall to the latter.
 */
function withoutWayOn(kept: ReadonlyMap<string, Kind>): Map<string, Kind> {
  const complete = ([name, kind]: [string, Kind]): [string, Kind] => {
    const rest = kind.rows.at(-1)?.value;
    const isOpen = rest === undefined || 'from' in rest || 'alpn' in rest;
    if (!isOpen || !name.startsWith('+.') || !kept.has(`*.${name.slice(2)}`)) return [name, kind];
    const rows = [...kind.rows, refusal(undefined)];
    return [name, { rows, key: JSON.stringify(rows) }];
  };
  return new Map([...kept].map(complete));
}

/**
 * Names first, then patterns for one label, for any depth, for any name, then the rest; each in order of
 * mention. Within a route, `*` has one meaning for all names.
 */
function grouped(kept: ReadonlyMap<string, Kind>): RouteDraft[] {
  const groups = new Map<string, { names: string[]; rows: readonly RouteDraft[] }>();
  const order = (name: string) => (name === '' ? 4 : ['+.', '*.', '*'].indexOf(name.slice(0, 2)) + 1);
  const hasOneLabel = [...kept.keys()].some((name) => name.startsWith('+.'));
  for (const name of [...kept.keys()].sort((a, b) => order(a) - order(b))) {
    const { rows, key } = kept.get(name) ?? { rows: [], key: '' };
    const isAlone = name === '' || name === '*';
    const group = isAlone ? `${name} ${key}` : hasOneLabel && name.startsWith('*.') ? `any ${key}` : key;
    const there = groups.get(group);
    if (there) there.names.push(name);
    else groups.set(group, { names: [name], rows });
  }
  return [...groups.values()].flatMap(({ names, rows }) =>
    rows.map(({ value, ...beside }) => ({
      value: { ...('name' in value && { name: value['name'] }), ...nameConditions(names), ...value },
      ...beside,
    })),
  );
}

function nameConditions(names: readonly string[]): object {
  if (names[0] === '') return {};
  const sni = names.map((name) => name.replace(/^\+\./, '*.'));
  return {
    sni: sni.length === 1 ? sni[0] : sni,
    ...(names.some((name) => name.startsWith('+.')) && { wildcard: 'one_label' }),
  };
}
