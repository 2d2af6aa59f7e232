/**
 * Which route a client takes, judging by what it says: first an exact name, then the longest wildcard,
 * then `*` (any name, but not none), then routes without a name. Among the routes with that one name
 * it is the first, in file order, whose other conditions hold. The search never falls back from a name
 * to a less specific one: a client refused on `orders.example.com` must not slip in by
 * `*.example.com`. With `wildcard: one_label`, a route's `*.example.com` does not match
 * `a.b.example.com` at all, which other routes may.
 */
import type { BlockList } from 'node:net';
import { LRUCache } from 'lru-cache';
import { isFor } from '../config/routes/kinds.ts';
import { placesIn } from '../config/routes/order.ts';
import { type Form, type RoutingTable, type Rule, rulesOf, tableOf } from '../config/routes/routing-table.ts';
import { hostNameOf, isLabels, normalizeServerName } from '../config/routes/server-name.ts';
import type { RouteConfig } from '../config/schema/schema.ts';
import { blockList, inBlockList } from '../net/address.ts';
import { atOnce, type Work } from '../process/pacer.ts';

/** What is known about a client after its ClientHello. */
export type RouteQuery = {
  readonly sni: string | undefined;
  readonly alpn: readonly string[];
  /** Its normalized address, or `unix`; undefined if unknown. */
  readonly client: string | undefined;
  readonly ja4: string;
  /** It does not speak TLS. Only such clients take `tls: off` routes, and they take no others. */
  readonly plain: boolean;
};

/** A route with its place in the list, and what the `*` of `*.name` stood for (`a` or `a.b`). */
export type Match = Rule & { readonly index: number; readonly wildcardLabel: string | undefined };

export type Router = { match(query: RouteQuery): Match | undefined };

/**
 * Why a route is not taken: it is for the other kind of client (`tls`), its names are not the
 * client's (`sni`), another route has a more specific name (`specificity`), a condition fails, or an
 * earlier route was taken (`order`).
 */
export type Failure = 'tls' | 'sni' | 'specificity' | 'alpn' | 'from' | 'ja4' | 'order';

/** One route's verdict on a client; `failed` is undefined for the route that is taken. */
export type RouteVerdict = { readonly index: number; readonly failed: Failure | undefined };

/** Prepares look-ups whose cost hardly grows with the number of names. */
export function buildRouter(routes: readonly RouteConfig[]): Router {
  return atOnce(routerOf(atOnce(tableOf(routes))));
}

/** The same from an existing table, in slices that let other work run. */
export function* routerOf(table: RoutingTable): Work<Router> {
  const conditions = yield* conditionsOf(table.forms);
  const find = remembering(namesOf(table));
  const placeOf = placesIn(table.order);
  return {
    match(query) {
      const { rules, wildcardLabel, mayPass } = find(query);
      for (const rule of rules) {
        const own = conditions[rule.form];
        if (own === undefined || (!mayPass && own.passesOn)) continue;
        if (failedCondition(own, query) === undefined)
          return { ...rule, index: placeOf(rule.id), wildcardLabel };
      }
      return undefined;
    },
  };
}

type Found = Candidates & { readonly mayPass: boolean };

/**
 * Remembers what the most recent names lead to: only the name decides that, and most
 * clients ask for one of a few names.
 */
function remembering(names: NamesOf): (query: RouteQuery) => Found {
  const recent = new LRUCache<string, Found>({ max: 1000 });
  const look = (query: RouteQuery): Found => ({
    ...mostSpecific(names, query),
    mayPass: mayPassOn(names, query),
  });
  const plain = look({ ...nobody, plain: true });
  const unnamed = look(nobody);
  return (query) => {
    if (query.plain) return plain;
    if (query.sni === undefined) return unnamed;
    let found = recent.get(query.sni);
    if (found === undefined) {
      found = look(query);
      recent.set(query.sni, found);
    }
    return found;
  };
}

const nobody: RouteQuery = { sni: undefined, alpn: [], client: undefined, ja4: '', plain: false };

/**
 * All routes in order of precedence for a client, starting with those that have its name, each
 * with the first thing that failed.
 */
export type Considering = (query: RouteQuery) => RouteVerdict[];

/** For people (`explain`): takes time in proportion to the number of routes. */
export function createConsidering(routes: readonly RouteConfig[]): Considering {
  const table = atOnce(tableOf(routes));
  const names = namesOf(table);
  const router = atOnce(routerOf(table));
  const all = routes.map((route, index) => {
    const alone = atOnce(tableOf([route]));
    const conditions = atOnce(conditionsOf(alone.forms))[0] as Conditions; // a route has a form
    return { route, index, conditions, alone: namesOf(alone) };
  });
  return (query) => {
    const chosen = mostSpecific(names, query).specificity;
    const mayPass = mayPassOn(names, query);
    const taken = router.match(query)?.index;
    const judge = ({ route, index, conditions }: (typeof all)[number], specificity: number) => {
      if (!isFor(route, query.plain)) return 'tls';
      if (specificity === notNamed || (!mayPass && conditions.passesOn)) return 'sni';
      if (specificity < chosen) return 'specificity';
      return failedCondition(conditions, query) ?? (index === taken ? undefined : 'order');
    };
    return all
      .map((one) => ({ one, specificity: mostSpecific(one.alone, query).specificity }))
      .sort((a, b) => b.specificity - a.specificity || a.one.index - b.one.index)
      .map(({ one, specificity }) => ({ index: one.index, failed: judge(one, specificity) }));
  };
}

/** What a client must fulfil besides the name, prepared for matching. */
type Conditions = {
  readonly alpn: readonly string[] | undefined;
  readonly from: BlockList | undefined;
  /** Each pattern, split at its `*`. */
  readonly ja4: readonly (readonly string[])[] | undefined;
  /** Whether the upstream will see the client's server name. */
  readonly passesOn: boolean;
};

type NamesOf = Omit<RoutingTable, 'suffixLengths'> & { readonly suffixLengths: ReadonlySet<number> };

function namesOf(table: RoutingTable): NamesOf {
  return { ...table, suffixLengths: new Set(table.suffixLengths) };
}

/**
 * The rules with the most specific name, and how specific it is: its length, or one of the constants below.
 */
type Candidates = {
  readonly rules: readonly Rule[];
  readonly wildcardLabel: string | undefined;
  readonly specificity: number;
};
const exactly = Number.MAX_SAFE_INTEGER;
const anyName = 0;
const anyOrNone = -1;
const notNamed = -2;

function* conditionsOf(forms: readonly Form[]): Work<Conditions[]> {
  // Thousands of routes tend to share a few address lists, and a BlockList is expensive.
  const lists = new Map<string, BlockList>();
  const listOf = (cidrs: readonly string[]): BlockList => {
    const key = cidrs.join();
    const list = lists.get(key) ?? blockList(cidrs);
    lists.set(key, list);
    return list;
  };
  const all: Conditions[] = [];
  for (const { alpn, from, ja4, tls } of forms) {
    yield;
    all.push({
      alpn,
      from: from && listOf(from),
      ja4: ja4?.map((pattern) => pattern.split('*')),
      passesOn: tls === 'passthrough',
    });
  }
  return all;
}

function mostSpecific(table: NamesOf, { sni, plain }: RouteQuery): Candidates {
  if (plain) return all(table.plain, anyOrNone);
  const named = hostNameOf(sni);
  if (named === undefined) return all(table.unnamed, anyOrNone);
  const name = normalizeServerName(named);
  const rules = rulesOf(table.exact, name);
  if (rules) return { rules, wildcardLabel: undefined, specificity: exactly };
  const wildcard = longestWildcard(table, name);
  if (wildcard) return wildcard;
  return table.named.length > 0 ? all(table.named, anyName) : all(table.unnamed, anyOrNone);
}

/**
 * Whether a server behind a passthrough route may see the client's server name. nginx takes `a.example:443`
 * for a.example: if that name has a route of its own, perhaps with `deny`, there must be no way around it.
 */
function mayPassOn(table: NamesOf, query: RouteQuery): boolean {
  const { sni, plain } = query;
  if (plain || sni === undefined || hostNameOf(sni) !== undefined) return true;
  return mostSpecific(table, { ...query, sni: sni.slice(0, sni.indexOf(':')) }).specificity <= anyOrNone;
}

function all(rules: readonly Rule[], specificity: number): Candidates {
  return { rules, wildcardLabel: undefined, specificity: rules.length > 0 ? specificity : notNamed };
}

function longestWildcard(table: NamesOf, name: string): Candidates | undefined {
  const { wildcard, oneLabel, suffixLengths } = table;
  const first = name.indexOf('.');
  for (let dot = first; dot !== -1; dot = name.indexOf('.', dot + 1)) {
    const length = name.length - dot - 1;
    if (!suffixLengths.has(length)) continue;
    const suffix = name.slice(dot + 1);
    const rules = (dot === first ? rulesOf(oneLabel, suffix) : undefined) ?? rulesOf(wildcard, suffix);
    if (rules === undefined) continue;
    const wildcardLabel = name.slice(0, dot);
    // A name with an empty label (`a..example.com`) is invalid, and must not fall back
    // to a less specific route either.
    return { rules: isLabels(wildcardLabel) ? rules : [], wildcardLabel, specificity: length };
  }
  return undefined;
}

function failedCondition({ alpn, from, ja4 }: Conditions, query: RouteQuery): Failure | undefined {
  if (alpn && !alpn.some((name) => query.alpn.includes(name))) return 'alpn';
  if (from && (query.client === undefined || !inBlockList(from, query.client))) return 'from';
  if (ja4 && !ja4.some((parts) => matchesPattern(parts, query.ja4))) return 'ja4';
  return undefined;
}

/**
 * Whether the text consists of the parts with any run of characters between them. Takes each part as
 * early as possible, so it is linear.
 */
function matchesPattern(parts: readonly string[], text: string): boolean {
  const first = parts[0] ?? '';
  if (parts.length === 1) return text === first;
  const last = parts.at(-1) ?? '';
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last))
    return false;
  const end = text.length - last.length;
  let at = first.length;
  for (let index = 1; index < parts.length - 1; index++) {
    const part = parts[index] ?? '';
    const found = text.indexOf(part, at);
    if (found === -1 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}
