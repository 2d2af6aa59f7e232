/**
 * Which route a client takes, by what it says. Exact name, then the longest wildcard, then `*` (any name, but not none),
 * then routes without a name; among the routes of that one name the first, in file order, whose other conditions hold.
 * There is no way back from a name to a less specific one: a client refused on `orders.example.com` must not slip in by `*.example.com`. With
 * `wildcard: one_label` a route's `*.example.com` is no name of `a.b.example.com` at all, which others may have.
 */
import type { BlockList } from 'node:net';
import type { RouteConfig } from '../config/schema/schema.ts';
import { blockList, inBlockList } from '../net/address.ts';
import { atOnce, type Work } from '../process/pacer.ts';
import { isFor } from './kinds.ts';
import { everyName, hostNameOf, isLabels, normalizeServerName, wildcardSuffix } from './server-name.ts';

/** What is known of a client once its ClientHello was read. */
export type RouteQuery = {
  readonly sni: string | undefined;
  readonly alpn: readonly string[];
  /** Its normalized address, or `unix`; undefined: unknown. */
  readonly client: string | undefined;
  readonly ja4: string;
  /** It speaks no TLS: `tls: off` routes are for such clients and for no others. */
  readonly plain: boolean;
};

/** `index` is the route's place in the list. `wildcardLabel` is what the `*` of `*.name` stood for (`a` or `a.b`). */
export type Match = { readonly index: number; readonly wildcardLabel: string | undefined };

export type Router = { match(query: RouteQuery): Match | undefined };

/**
 * Why a route is not taken: it is for the other kind of client (`tls`), its names are not the client's (`sni`), a route
 * has a more specific name (`specificity`), a condition fails, or a route before it was taken (`order`).
 */
export type Failure = 'tls' | 'sni' | 'specificity' | 'alpn' | 'from' | 'ja4' | 'order';

/** One route's verdict on a client; `failed` is undefined for the route that is taken. */
export type RouteVerdict = { readonly index: number; readonly failed: Failure | undefined };

/** Prepares look-ups whose cost does not grow with the number of names. Pure: a route is returned by its index. */
export function buildRouter(routes: readonly RouteConfig[]): Router {
  return atOnce(routerOf(routes));
}

/** The same, where others wait. */
export function* routerOf(routes: readonly RouteConfig[]): Work<Router> {
  const table = yield* tableOf(yield* compile(routes));
  return {
    match(query) {
      const { rules, wildcardLabel } = mostSpecific(table, query);
      const mayPass = mayPassOn(table, query);
      for (const rule of rules) {
        if (!mayPass && rule.route.tls === 'passthrough') continue;
        if (failedCondition(rule, query) === undefined) return { index: rule.index, wildcardLabel };
      }
      return undefined;
    },
  };
}

/** Every route in order of precedence for a client, those that have its name first, each with what failed first. */
export type Considering = (query: RouteQuery) => RouteVerdict[];

/** For people (`explain`): it takes time in proportion to the routes. */
export function createConsidering(routes: readonly RouteConfig[]): Considering {
  const all = atOnce(compile(routes)).map((rule) => ({ rule, alone: atOnce(tableOf([rule])) }));
  const table = atOnce(tableOf(all.map(({ rule }) => rule)));
  const router = buildRouter(routes);
  return (query) => {
    const chosen = mostSpecific(table, query).specificity;
    const mayPass = mayPassOn(table, query);
    const taken = router.match(query)?.index;
    const judge = (rule: Rule, specificity: number): Failure | undefined => {
      if (!isFor(rule.route, query.plain)) return 'tls';
      if (specificity === notNamed || (!mayPass && rule.route.tls === 'passthrough')) return 'sni';
      if (specificity < chosen) return 'specificity';
      return failedCondition(rule, query) ?? (rule.index === taken ? undefined : 'order');
    };
    return all
      .map(({ rule, alone }) => ({ rule, specificity: mostSpecific(alone, query).specificity }))
      .sort((a, b) => b.specificity - a.specificity || a.rule.index - b.rule.index)
      .map(({ rule, specificity }) => ({ index: rule.index, failed: judge(rule, specificity) }));
  };
}

/** A route with its conditions made ready. */
type Rule = {
  readonly index: number;
  readonly route: RouteConfig;
  readonly from: BlockList | undefined;
  /** Each pattern split at its `*`. */
  readonly ja4: readonly (readonly string[])[] | undefined;
};

type Table = {
  readonly exact: ReadonlyMap<string, readonly Rule[]>;
  /** By what follows `*.`: those for any number of labels before it. */
  readonly wildcard: ReadonlyMap<string, readonly Rule[]>;
  /** By the same, where there is a route for one label alone: all for one label. */
  readonly oneLabel: ReadonlyMap<string, readonly Rule[]>;
  /** Which lengths the suffixes have, so that a name of many labels is not cut at every dot. */
  readonly suffixLengths: ReadonlySet<number>;
  /** Those for any name. */
  readonly named: readonly Rule[];
  readonly unnamed: readonly Rule[];
  readonly plain: readonly Rule[];
};

/** The rules that have the most specific name, and how specific that is: its length, or one of the words below. */
type Candidates = {
  readonly rules: readonly Rule[];
  readonly wildcardLabel: string | undefined;
  readonly specificity: number;
};
const exactly = Number.MAX_SAFE_INTEGER;
const anyName = 0;
const anyOrNone = -1;
const notNamed = -2;

function* compile(routes: readonly RouteConfig[]): Work<Rule[]> {
  // Thousands of routes tend to share a few lists of addresses, and a BlockList is dear.
  const lists = new Map<string, BlockList>();
  const listOf = (cidrs: readonly string[]): BlockList => {
    const key = cidrs.join();
    const list = lists.get(key) ?? blockList(cidrs);
    lists.set(key, list);
    return list;
  };
  const rules: Rule[] = [];
  for (const [index, route] of routes.entries()) {
    yield;
    const ja4 = route.ja4?.map((pattern) => pattern.split('*'));
    rules.push({ index, route, from: route.from && listOf(route.from), ja4 });
  }
  return rules;
}

function* tableOf(rules: readonly Rule[]): Work<Table> {
  const exact = new Map<string, Rule[]>();
  const wildcard = new Map<string, Rule[]>();
  const oneLabel = new Map<string, Rule[]>();
  const suffixLengths = new Set<number>();
  const named: Rule[] = [];
  const unnamed: Rule[] = [];
  const plain: Rule[] = [];
  for (const rule of rules) {
    yield;
    if (isFor(rule.route, true)) plain.push(rule);
    if (!isFor(rule.route, false)) continue;
    if (rule.route.sni === undefined) unnamed.push(rule);
    if (rule.route.sni?.includes(everyName)) named.push(rule);
    const alone = [rule];
    const wildcards = rule.route.wildcard === 'one_label' ? oneLabel : wildcard;
    for (const pattern of rule.route.sni ?? []) {
      yield;
      const name = normalizeServerName(pattern);
      const suffix = wildcardSuffix(name);
      if (name === everyName) continue;
      if (suffix === undefined) addRule(exact, name, alone);
      else {
        suffixLengths.add(suffix.length);
        addRule(wildcards, suffix, alone);
      }
    }
  }
  for (const [suffix, own] of oneLabel) {
    yield;
    const all = [...own, ...(wildcard.get(suffix) ?? [])];
    oneLabel.set(
      suffix,
      all.sort((a, b) => a.index - b.index),
    );
  }
  return { exact, wildcard, oneLabel, suffixLengths, named, unnamed, plain };
}

/** Names of one route share its list of one; a second route under a name makes a list of that name's own. */
function addRule(table: Map<string, Rule[]>, name: string, alone: Rule[]): void {
  const rules = table.get(name);
  if (rules === undefined) table.set(name, alone);
  else if (rules.at(-1) === alone[0]) return;
  else if (rules.length === 1) table.set(name, [...rules, ...alone]);
  else rules.push(...alone);
}

function mostSpecific(table: Table, { sni, plain }: RouteQuery): Candidates {
  if (plain) return all(table.plain, anyOrNone);
  const named = hostNameOf(sni);
  if (named === undefined) return all(table.unnamed, anyOrNone);
  const name = normalizeServerName(named);
  const rules = table.exact.get(name);
  if (rules) return { rules, wildcardLabel: undefined, specificity: exactly };
  const wildcard = longestWildcard(table, name);
  if (wildcard) return wildcard;
  return table.named.length > 0 ? all(table.named, anyName) : all(table.unnamed, anyOrNone);
}

/**
 * Whether a server behind a passthrough route may see the client's server name. nginx takes `a.example:443` for a.example: if
 * that has a route of its own, `deny` perhaps, there must be no way around it.
 */
function mayPassOn(table: Table, query: RouteQuery): boolean {
  const { sni, plain } = query;
  if (plain || sni === undefined || hostNameOf(sni) !== undefined) return true;
  return mostSpecific(table, { ...query, sni: sni.slice(0, sni.indexOf(':')) }).specificity <= anyOrNone;
}

function all(rules: readonly Rule[], specificity: number): Candidates {
  return { rules, wildcardLabel: undefined, specificity: rules.length > 0 ? specificity : notNamed };
}

function longestWildcard(table: Table, name: string): Candidates | undefined {
  const { wildcard, oneLabel, suffixLengths } = table;
  const first = name.indexOf('.');
  for (let dot = first; dot !== -1; dot = name.indexOf('.', dot + 1)) {
    const length = name.length - dot - 1;
    if (!suffixLengths.has(length)) continue;
    const suffix = name.slice(dot + 1);
    const rules = (dot === first ? oneLabel.get(suffix) : undefined) ?? wildcard.get(suffix);
    if (rules === undefined) continue;
    const wildcardLabel = name.slice(0, dot);
    // A name with an empty label (`a..example.com`) is none, and a less specific route is not for it either.
    return { rules: isLabels(wildcardLabel) ? rules : [], wildcardLabel, specificity: length };
  }
  return undefined;
}

function failedCondition({ route, from, ja4 }: Rule, query: RouteQuery): Failure | undefined {
  if (route.alpn && !route.alpn.some((name) => query.alpn.includes(name))) return 'alpn';
  if (from && (query.client === undefined || !inBlockList(from, query.client))) return 'from';
  if (ja4 && !ja4.some((parts) => matchesPattern(parts, query.ja4))) return 'ja4';
  return undefined;
}

/** Whether the text is the parts with any run of characters between them. Takes each part as early as it can: linear. */
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
