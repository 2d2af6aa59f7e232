/**
 * A listener's routes as plain data, built once when the configuration is loaded; every process searches it
 * directly.
 */

import type { Work } from '../../process/pacer.ts';
import type { RouteConfig } from '../schema/schema.ts';
import { isFor, takesPlain, takesTls } from './kinds.ts';
import { findName, type Names, packNames } from './names.ts';
import { everyName, normalizeServerName, wildcardSuffix } from './server-name.ts';

/** A route without its names: thousands of routes tend to share a few forms. */
export type Form = Omit<RouteConfig, 'sni' | 'name' | 'wildcard'>;

/** A route: its index in the list, and the index of its form. */
export type Rule = { readonly index: number; readonly form: number };

/** Consists only of lists, so that it can be sent in pieces. */
export type RoutingTable = {
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
  /** The `name` of routes, as JSON, by index. */
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
  for (const [index, route] of routes.entries()) {
    yield;
    const { sni, name: label, wildcard: depth } = route;
    const rule = { index, form: forms.of(route) };
    if (label !== undefined) labels.set(String(index), JSON.stringify(label));
    if (isFor(route, true)) plain.push(rule);
    if (!isFor(route, false)) continue;
    if (sni === undefined) unnamed.push(rule);
    if (sni?.includes(everyName)) named.push(rule);
    for (const pattern of sni ?? []) {
      yield;
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
    oneLabel.set(suffix, new Set(all.sort((a, b) => a.index - b.index)));
  }
  const table = {
    forms: forms.all,
    exact: yield* packNames(exact),
    wildcard: yield* packNames(yield* written(wildcard)),
    oneLabel: yield* packNames(yield* written(oneLabel)),
    suffixLengths: [...suffixLengths],
    named,
    unnamed,
    plain,
    labels: yield* packNames(labels),
    kinds: [...(takesPlain(routes) ? ['plain' as const] : []), ...(takesTls(routes) ? ['tls' as const] : [])],
  };
  countUses(table, forms.uses);
  return table;
}

export function emptyTable(): RoutingTable {
  const names = { exact: [], wildcard: [], oneLabel: [], suffixLengths: [], labels: [] };
  return { forms: [], ...names, named: [], unnamed: [], plain: [], kinds: [] };
}

/** The rules of a name; undefined if there are none. */
export function rulesOf(names: Names, name: string): Rule[] | undefined {
  const value = findName(names, name);
  return value?.split(',').map((pair) => {
    const [index, form] = pair.split('.').map(Number);
    return { index, form } as Rule; // as `written` writes it
  });
}

/** A route's configured name, or else its index. */
export function labelOf(labels: Names, index: number): string | number {
  const label = findName(labels, String(index));
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

function textOf({ index, form }: Rule): string {
  return `${index}.${form}`;
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
