/** A routing table in which some routes were replaced, made from the former one: all other blocks stay. */

import type { Work } from '../../process/pacer.ts';
import type { RouteChanges } from '../changes.ts';
import type { RouteConfig } from '../schema/schema.ts';
import { isFor } from './kinds.ts';
import { changeNames } from './names.ts';
import { changedOrder, idAt, placesIn } from './order.ts';
import {
  countUses,
  type Form,
  formKeyOf,
  formOf,
  kindsOf,
  type RoutingTable,
  type Rule,
  rulesOf,
  textOf,
  usesOf,
} from './routing-table.ts';
import { everyName, normalizeServerName, wildcardSuffix } from './server-name.ts';

/** The more routes differ, the less is saved. */
const mostReplaced = 1000;
/** The more routes have come and gone, the more an order consists of. */
const mostRuns = 1000;

/**
 * `table` is that of the routes `before`. undefined if the table must be built anew, since too much has
 * changed.
 */
export function* replaceRoutes(
  table: RoutingTable,
  before: readonly RouteConfig[],
  after: readonly RouteConfig[],
  changes: RouteChanges,
): Work<RoutingTable | undefined> {
  const { fresh, gone } = changes;
  const former = usesOf(table);
  if (former === undefined || fresh.length + gone.length > mostReplaced) return undefined;
  const order = changedOrder(table.order, changes);
  if (order.length > mostRuns) return undefined;
  const uses = [...former];
  const forms = createForms(table, uses);
  const rules = createRules(table, placesIn(order));
  const labels = new Map<string, string | undefined>();
  for (const place of gone) {
    const [route, id] = [before[place], idAt(table.order, place)];
    if (route === undefined) continue;
    labels.set(String(id), undefined);
    rules.remove(route, id);
    forms.release(route);
  }
  for (const place of fresh) {
    yield;
    const [route, id] = [after[place], idAt(order, place)];
    if (route === undefined) continue;
    if (route.name !== undefined) labels.set(String(id), JSON.stringify(route.name));
    rules.add(route, { id, form: forms.use(route) });
  }
  const changed = { ...table, ...(yield* rules.changed()), order, forms: forms.all };
  const replaced = { ...changed, kinds: kindsOf(changed), labels: yield* changeNames(table.labels, labels) };
  countUses(replaced, uses);
  return replaced;
}

/** Stands where a form is no longer used, until there is another: what it referred to may be gone. */
const unused: Form = Object.freeze({ deny: true });

function createForms(table: RoutingTable, uses: number[]) {
  const all: Form[] = [...table.forms];
  const places = new Map(all.map((form, place) => [formKeyOf(form), place]));
  const free = all.flatMap((form, place) => (form === unused ? [place] : []));
  const placeFor = (form: Form): number => {
    const place = free.pop() ?? all.length;
    all[place] = form;
    return place;
  };
  return {
    all,
    release(route: RouteConfig): void {
      const place = places.get(formKeyOf(route)) ?? -1;
      uses[place] = (uses[place] ?? 0) - 1;
      if (uses[place] !== 0) return;
      places.delete(formKeyOf(route));
      all[place] = unused;
      free.push(place);
    },
    use(route: RouteConfig): number {
      const key = formKeyOf(route);
      const place = places.get(key) ?? placeFor(formOf(route));
      places.set(key, place);
      uses[place] = (uses[place] ?? 0) + 1;
      return place;
    },
  };
}

type Named = 'exact' | 'wildcard' | 'oneLabel';
type Unnamed = 'named' | 'unnamed' | 'plain';

/** All rules of the names and lists that some route has or had. `placeOf` finds a route by its id. */
function createRules(table: RoutingTable, placeOf: (id: number) => number) {
  const names = { exact: new Map(), wildcard: new Map(), oneLabel: new Map() } as Record<
    Named,
    Map<string, Rule[]>
  >;
  const lists = new Map<Unnamed, Rule[]>();
  const rulesAt = (list: Named, name: string): Rule[] =>
    names[list].get(name) ??
    (list === 'oneLabel' ? oneLabelRules(table, name) : (rulesOf(table[list], name) ?? []));
  const sorted = (rules: readonly Rule[]) => rules.toSorted((a, b) => placeOf(a.id) - placeOf(b.id));
  const change = (route: RouteConfig, changed: (rules: readonly Rule[]) => Rule[]) => {
    for (const list of listsWith(route)) lists.set(list, changed(lists.get(list) ?? table[list]));
    for (const [list, name] of namesIn(route)) names[list].set(name, changed(rulesAt(list, name)));
  };
  const lines = (of: ReadonlyMap<string, readonly Rule[]>) =>
    new Map([...of].map(([name, rules]) => [name, sorted(rules).map(textOf).join() || undefined]));
  return {
    remove: (route: RouteConfig, id: number) =>
      change(route, (rules) => rules.filter((rule) => rule.id !== id)),
    add: (route: RouteConfig, rule: Rule) =>
      change(route, (rules) => [...rules.filter(({ id }) => id !== rule.id), rule]),
    *changed(): Work<Pick<RoutingTable, Named | Unnamed | 'suffixLengths'>> {
      const suffixes = new Set([...names.wildcard.keys(), ...names.oneLabel.keys()]);
      const oneLabel = new Map<string, Rule[]>();
      for (const suffix of suffixes) {
        const own = rulesAt('oneLabel', suffix);
        oneLabel.set(suffix, own.length === 0 ? [] : [...own, ...rulesAt('wildcard', suffix)]);
      }
      const list = (name: Unnamed) => (lists.has(name) ? sorted(lists.get(name) ?? []) : table[name]);
      return {
        exact: yield* changeNames(table.exact, lines(names.exact)),
        wildcard: yield* changeNames(table.wildcard, lines(names.wildcard)),
        oneLabel: yield* changeNames(table.oneLabel, lines(oneLabel)),
        // Those that are no longer in use do no harm.
        suffixLengths: [...new Set([...table.suffixLengths, ...[...suffixes].map(({ length }) => length)])],
        named: list('named'),
        unnamed: list('unnamed'),
        plain: list('plain'),
      };
    },
  };
}

/** Without those for any number of labels. */
function oneLabelRules(table: RoutingTable, suffix: string): Rule[] {
  const wide = new Set((rulesOf(table.wildcard, suffix) ?? []).map(({ id }) => id));
  return (rulesOf(table.oneLabel, suffix) ?? []).filter(({ id }) => !wide.has(id));
}

function listsWith(route: RouteConfig): Unnamed[] {
  const lists: Unnamed[] = isFor(route, true) ? ['plain'] : [];
  if (!isFor(route, false)) return lists;
  if (route.sni === undefined) return [...lists, 'unnamed'];
  return route.sni.includes(everyName) ? [...lists, 'named'] : lists;
}

function namesIn(route: RouteConfig): [list: Named, name: string][] {
  const { sni = [], wildcard } = route;
  if (!isFor(route, false)) return [];
  return sni.map(normalizeServerName).flatMap((name): [Named, string][] => {
    const suffix = wildcardSuffix(name);
    if (name === everyName) return [];
    if (suffix === undefined) return [['exact', name]];
    return [[wildcard === 'one_label' ? 'oneLabel' : 'wildcard', suffix]];
  });
}
