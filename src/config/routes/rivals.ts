/** Finds routes that compete for the same clients: what one of them has, or gets first, another has not. */
import type { RouteConfig } from '../schema/schema.ts';
import { isFor } from './kinds.ts';
import { namesWith } from './names.ts';
import { placesIn } from './order.ts';
import { type RoutingTable, type Rule, rulesOf } from './routing-table.ts';
import { everyName, wildcardSuffix } from './server-name.ts';

/** What routes of a listener can only have once, or one before the other. */
export type Claims = { readonly names: Set<string>; readonly labels: Set<string>; plain: boolean };
export type Claimant = Pick<RouteConfig, 'sni' | 'name' | 'tls' | 'deny' | 'alpn' | 'ja4'>;

/** Stands for any name or none. */
const anyOrNone = '';

export function claimsOf(routes: Iterable<Claimant>): Claims {
  const claims: Claims = { names: new Set(), labels: new Set(), plain: false };
  for (const route of routes) {
    if (isFor(route, false)) for (const name of route.sni ?? [anyOrNone]) claims.names.add(name);
    if (route.name !== undefined) claims.labels.add(route.name);
    if (isFor(route, true)) claims.plain = true;
  }
  return claims;
}

/** The places of the routes in a table that have one of these claims. */
export function rivalsIn(table: RoutingTable, { names, labels, plain }: Claims): number[] {
  const rules = [...names].flatMap((name) => rulesFor(table, name));
  if (plain) rules.push(...table.plain);
  const placeOf = placesIn(table.order);
  const ids = rules.map(({ id }) => id);
  if (labels.size > 0) {
    const written = new Set([...labels].map((label) => JSON.stringify(label)));
    ids.push(...namesWith(table.labels, written).map(Number));
  }
  return [...new Set(ids)].map(placeOf);
}

function rulesFor(table: RoutingTable, name: string): readonly Rule[] {
  if (name === anyOrNone) return table.unnamed;
  if (name === everyName) return table.named;
  const suffix = wildcardSuffix(name);
  if (suffix === undefined) return rulesOf(table.exact, name) ?? [];
  return [...(rulesOf(table.wildcard, suffix) ?? []), ...(rulesOf(table.oneLabel, suffix) ?? [])];
}
