/** A routing table in which some routes were replaced, made from the former one: all other blocks stay. */
import type { Work } from '../../process/pacer.ts';
import type { RouteConfig } from '../schema/schema.ts';
import { changeNames, findName } from './names.ts';
import type { Form, RoutingTable } from './routing-table.ts';
import { everyName, normalizeServerName, wildcardSuffix } from './server-name.ts';

/**
 * `before` and `after` are the routes at `from` and behind it, for clients with TLS. undefined if the table
 * must be built anew: if a route has a wildcard or no name, or the routes behind these have moved.
 */
export function* replaceRoutes(
  table: RoutingTable,
  from: number,
  before: readonly RouteConfig[],
  after: readonly RouteConfig[],
): Work<RoutingTable | undefined> {
  if (before.length !== after.length) return undefined;
  const forms = [...table.forms];
  const places = new Map(forms.map((form, place) => [JSON.stringify(form), place]));
  const lines = new Map<string, string | undefined>();
  for (const [index, route] of before.entries()) {
    const place = places.get(JSON.stringify(formOf(route)));
    for (const name of exactNames(route) ?? []) {
      if (findName(table.exact, name) !== `${from + index}.${place}`) return undefined;
      lines.set(name, undefined);
    }
  }
  for (const [index, route] of after.entries()) {
    yield;
    const form = formOf(route);
    const key = JSON.stringify(form);
    const place = places.get(key) ?? forms.push(form) - 1;
    places.set(key, place);
    for (const name of exactNames(route) ?? []) lines.set(name, `${from + index}.${place}`);
  }
  if ([...before, ...after].some((route) => exactNames(route) === undefined)) return undefined;
  return { ...table, forms, exact: yield* changeNames(table.exact, lines) };
}

function formOf({ sni: _, name: __, wildcard: ___, ...form }: RouteConfig): Form {
  return form;
}

function exactNames({ sni }: RouteConfig): readonly string[] | undefined {
  const names = sni?.map(normalizeServerName);
  return names?.some((name) => name === everyName || wildcardSuffix(name) !== undefined) ? undefined : names;
}
