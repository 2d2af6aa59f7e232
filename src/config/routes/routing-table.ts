/**
 * A listener's routes as plain data, built once when the configuration is loaded; every process searches it
 * directly.
 */

import type { Work } from '../../process/pacer.ts';
import type { RouteConfig } from '../schema/schema.ts';
import { isFor, looksAtHello } from './kinds.ts';
import { findName, type Names, packNames } from './names.ts';
import { type Order, orderOf } from './order.ts';
import { everyName, normalizeServerName, wildcardSuffix } from './server-name.ts';

/** A route without its names: thousands of routes tend to share a few forms. */
export type Form = Omit<RouteConfig, 'sni' | 'name' | 'wildcard'>;

/** A route: its id, which `order` translates to its place in the list, and the index of its form. */
export type Rule = { readonly id: number; readonly form: number };

/** Consists only of lists, so that it can be sent in pieces. */
export type RoutingTable = {
  readonly order: Order;
  readonly forms: readonly Form[];
  /** The rules of each name, in the order of the routes; `rulesOf` reads them. */
  readonly exact: Names;
  /** By the text after `*.`: rules for any number of labels before it. */
  readonly wildcard: Names;
  /** By the same text, if some route is for exactly one label: all rules that apply to one label. */
  readonly oneLabel: Names;
  /** The lengths of the suffixes in use, so that a name with many labels is not tried at every dot. */
  readonly suffixLengths: readonly number[];
  /** Rules for any name. */
  readonly named: readonly Rule[];
  readonly unnamed: readonly Rule[];
  readonly plain: readonly Rule[];
  /** The `name` of routes, as JSON, by id. */
  readonly labels: Names;
  /** The kinds of client that its routes are for. */
  readonly kinds: readonly ('plain' | 'tls')[];
};

/** `former` is the table that this one replaces: forms that it has, too, stay the same values. */
export function* tableOf(routes: readonly RouteConfig[], former?: RoutingTable): Work<RoutingTable> {
  const forms = createForms(former);
  const exact = new Map<string, string>();
  const wildcard: RulesByName = new Map();
  const oneLabel: RulesByName = new Map();
  const suffixLengths = new Set<number>();
  const [named, unnamed, plain]: [Rule[], Rule[], Rule[]] = [[], [], []];
  const labels = new Map<string, string>();
  let steps = 0;
  for (const [id, route] of routes.entries()) {
    // To yield takes as long as a name does.
    if (id % 32 === 0) yield;
    const { sni, name: label, wildcard: depth } = route;
    const rule = { id, form: forms.of(route) };
    if (label !== undefined) labels.set(String(id), JSON.stringify(label));
    if (isFor(route, true)) plain.push(rule);
    if (!isFor(route, false)) continue;
    if (sni === undefined) unnamed.push(rule);
    if (sni?.includes(everyName)) named.push(rule);
    for (const pattern of sni ?? []) {
      steps += 1;
      if (steps % 32 === 0) yield;
      const name = normalizeServerName(pattern);
      const suffix = wildcardSuffix(name);
      if (name === everyName) continue;
      if (suffix !== undefined) suffixLengths.add(suffix.length);
      if (suffix === undefined) addExact(exact, name, rule);
      else addRule(depth === 'one_label' ? oneLabel : wildcard, suffix, rule);
    }
  }
  for (const [suffix, own] of oneLabel) {
    yield;
    const all = [...own, ...(wildcard.get(suffix) ?? [])];
    oneLabel.set(suffix, new Set(all.sort((a, b) => a.id - b.id)));
  }
  const table = {
    order: orderOf(routes.length),
    forms: forms.all,
    exact: yield* packNames(exact),
    wildcard: yield* packNames(yield* written(wildcard)),
    oneLabel: yield* packNames(yield* written(oneLabel)),
    suffixLengths: [...suffixLengths],
    named,
    unnamed,
    plain,
    labels: yield* packNames(labels),
  };
  const whole = { ...table, kinds: kindsOf(table) };
  countUses(whole, forms.uses);
  return whole;
}

/**
 * A listener serves plain clients only if a route does, and refuses them otherwise before any route is tried.
 * It reads ClientHellos if a route looks at them; if none does, every client counts as plain.
 */
export function kindsOf(table: Omit<RoutingTable, 'kinds' | 'labels'>): RoutingTable['kinds'] {
  const { forms, exact, wildcard, oneLabel, named, unnamed, plain } = table;
  const takesPlain = plain.some(({ form }) => forms[form]?.tls === 'off');
  const isNamed = exact.length + wildcard.length + oneLabel.length + named.length > 0;
  const takesTls = isNamed || unnamed.some(({ form }) => looksAtHello(forms[form] ?? {})) || !takesPlain;
  return [...(takesPlain ? ['plain' as const] : []), ...(takesTls ? ['tls' as const] : [])];
}

export function emptyTable(): RoutingTable {
  const names = { exact: [], wildcard: [], oneLabel: [], suffixLengths: [], labels: [] };
  return { order: [], forms: [], ...names, named: [], unnamed: [], plain: [], kinds: [] };
}

/** The rules of a name; undefined if there are none. */
export function rulesOf(names: Names, name: string): Rule[] | undefined {
  const value = findName(names, name);
  return value?.split(',').map((pair) => {
    const [id, form] = pair.split('.').map(Number);
    return { id, form } as Rule; // as `textOf` writes it
  });
}

/** A route's configured name, or else its place in the list. */
export function labelOf(
  labels: Names,
  { id, index }: { readonly id: number; readonly index: number },
): string | number {
  const label = findName(labels, String(id));
  return label === undefined ? index : (JSON.parse(label) as string);
}

type RulesByName = Map<string, Set<Rule>>;

function addRule(names: RulesByName, name: string, rule: Rule): void {
  const rules = names.get(name);
  if (rules) rules.add(rule);
  else names.set(name, new Set([rule]));
}

/** Written at once: there may be a hundred thousand names, most of them with one rule. */
function addExact(names: Map<string, string>, name: string, rule: Rule): void {
  const [before, own] = [names.get(name), textOf(rule)];
  if (before === undefined) names.set(name, own);
  else if (before !== own && !before.endsWith(`,${own}`)) names.set(name, `${before},${own}`);
}

function* written(names: RulesByName): Work<Map<string, string>> {
  const lines = new Map<string, string>();
  for (const [name, rules] of names) {
    yield;
    lines.set(name, [...rules].map(textOf).join());
  }
  return lines;
}

/** A line of names has its rules so, with commas between them. */
export function textOf({ id, form }: Rule): string {
  return `${id}.${form}`;
}

export function formOf({ sni: _, name: __, wildcard: ___, ...form }: RouteConfig): Form {
  return form;
}

/** A text that routes with the same form have in common. */
export function formKeyOf(route: RouteConfig): string {
  const { tls, upstream, alpn, from, ja4, deny } = route;
  // Most routes of a large configuration have no more.
  if (typeof tls === 'string' && (alpn ?? from ?? ja4 ?? deny) === undefined) return `${tls} ${upstream}`;
  return JSON.stringify(formOf(route));
}

/** How many routes have each form of a table. */
const usesIn = new WeakMap<RoutingTable, readonly number[]>();

export function usesOf(table: RoutingTable): readonly number[] | undefined {
  return usesIn.get(table);
}

export function countUses(table: RoutingTable, uses: readonly number[]): void {
  usesIn.set(table, uses);
}

function createForms(former: RoutingTable | undefined) {
  const all: Form[] = [];
  const uses: number[] = [];
  const known = new Map<string, number>();
  const before = new Map((former?.forms ?? []).map((form) => [formKeyOf(form), form]));
  return {
    all,
    uses,
    of(route: RouteConfig): number {
      const key = formKeyOf(route);
      const place = known.get(key) ?? all.push(before.get(key) ?? formOf(route)) - 1;
      known.set(key, place);
      uses[place] = (uses[place] ?? 0) + 1;
      return place;
    },
  };
}
