/** A routing table in which some routes were replaced, made from the former one: all other blocks stay. */

import type { Work } from '../../process/pacer.ts';
import { difference } from '../changes.ts';
import type { RouteConfig } from '../schema/schema.ts';
import { changeNames, findName } from './names.ts';
import { countUses, type Form, formKeyOf, formOf, type RoutingTable, usesOf } from './routing-table.ts';
import { everyName, normalizeServerName, wildcardSuffix } from './server-name.ts';

/** The more routes differ, the less is saved. */
const mostReplaced = 1000;

/**
 * `table` is that of the routes `before`. undefined if the table must be built anew: if something other than
 * the routes of exact names has changed, or routes have moved.
 */
export function* replaceRoutes(
  table: RoutingTable,
  before: readonly RouteConfig[],
  after: readonly RouteConfig[],
): Work<RoutingTable | undefined> {
  const { from, to, behind } = difference(before, after);
  // Others may follow only if none of them moves.
  if (to !== behind && (to !== before.length || behind !== after.length)) return undefined;
  if (Math.max(to, behind) - from > mostReplaced) return undefined;
  const [gone, fresh] = [before.slice(from, to), after.slice(from, behind)];
  if (![...gone, ...fresh].every(isExact)) return undefined;
  const uses = [...(usesOf(table) ?? [])];
  if (uses.length === 0) return undefined;
  const forms = createForms(table, uses);
  const names = new Map<string, string | undefined>();
  const labels = new Map<string, string | undefined>();
  for (const [index, route] of gone.entries()) {
    const place = forms.placeOf(route);
    if (place === undefined) return undefined;
    const rule = `${from + index}.${place}`;
    labels.set(String(from + index), undefined);
    for (const name of namesOf(route)) {
      if (findName(table.exact, name) !== rule) return undefined;
      names.set(name, undefined);
    }
  }
  for (const route of gone) forms.release(forms.placeOf(route) ?? -1);
  for (const [index, route] of fresh.entries()) {
    yield;
    const rule = `${from + index}.${forms.use(route)}`;
    if (route.name !== undefined) labels.set(String(from + index), JSON.stringify(route.name));
    for (const name of new Set(namesOf(route))) {
      const isFree = names.has(name)
        ? names.get(name) === undefined
        : findName(table.exact, name) === undefined;
      if (!isFree) return undefined;
      names.set(name, rule);
    }
  }
  const [exact, labelled] = [
    yield* changeNames(table.exact, names),
    yield* changeNames(table.labels, labels),
  ];
  const replaced = { ...table, forms: forms.all, exact, labels: labelled };
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
    placeOf: (route: RouteConfig) => places.get(formKeyOf(route)),
    release(place: number): void {
      uses[place] = (uses[place] ?? 0) - 1;
      if (uses[place] !== 0) return;
      places.delete(formKeyOf(all[place] ?? unused));
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

/** For clients with TLS, by names without a wildcard. */
function isExact({ tls, sni }: RouteConfig): boolean {
  if (tls === 'off' || sni === undefined) return false;
  return sni.every((name) => name !== everyName && wildcardSuffix(name) === undefined);
}

function namesOf({ sni = [] }: RouteConfig): string[] {
  return sni.map(normalizeServerName);
}
