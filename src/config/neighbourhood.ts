/**
 * What has to be checked again after a change: the objects that changed, those that refer to them, and routes
 * that compete with changed ones for the same clients. Everything else was found valid before, and nothing
 * that it depends on is another now.
 */
import { type Changes, formerPlace, placeNow, type RouteChanges } from './changes.ts';
import type { Checked, LoadedConfig, Warned } from './load.ts';
import { isMapping, type Parted } from './read/parted.ts';
import { placesIn } from './routes/order.ts';
import { type Claimant, type Claims, claimsOf, rivalsIn } from './routes/rivals.ts';
import type { RoutingTable } from './routes/routing-table.ts';
import {
  doesRouteReferTo,
  type Reference,
  referencesOfRest,
  referencesOfRoute,
  referencesOfUpstream,
} from './rules/references.ts';
import type { RouteConfig } from './schema/schema.ts';

/** Objects as `certificates.orders`, routes by listener and place. */
export type Chosen = { readonly objects: Set<string>; readonly routes: Map<string, Set<number>> };

export type Neighbourhood = {
  /** These may be judged otherwise than before. */
  readonly judged: Chosen;
  /** Those, and all that they have to be checked with. */
  readonly included: Chosen;
};

/** What was found before, and the table of each listener. */
type Former = Checked & { readonly tables: ReadonlyMap<string, RoutingTable> };

/** `stale` has objects whose files have changed. */
export function neighbourhoodOf(
  changes: Changes,
  stale: ReadonlySet<string>,
  former: Former,
  now: Parted,
): Neighbourhood {
  const judged: Chosen = { objects: new Set(stale), routes: new Map() };
  for (const [section, { fresh }] of changes.objects) {
    for (const name of fresh) judged.objects.add(`${section}.${name}`);
  }
  const touched = new Set(judged.objects);
  for (const [section, { gone }] of changes.objects) {
    for (const name of gone) touched.add(`${section}.${name}`);
  }
  addUpstreamsWith(touched, changes, former.loaded, judged.objects);
  for (const [listener, own] of changes.routes) {
    const routes = judgedRoutes(listener, own, touched, former, now);
    addMoved(routes, listener, own, former.warned);
    judged.routes.set(listener, routes);
  }
  return { judged, included: withSurroundings(judged, changes, former, now) };
}

/** How many objects there are in it. */
export function sizeOf({ objects, routes }: Chosen): number {
  return [...routes.values()].reduce((sum, { size }) => sum + size, objects.size);
}

/** Upstreams that are as before, but use a certificate or an authority that is not. */
function addUpstreamsWith(
  touched: ReadonlySet<string>,
  { objects }: Changes,
  { config }: LoadedConfig,
  judged: Set<string>,
): void {
  const isMaterial = (name: string) => !name.startsWith('upstreams.');
  if (![...touched].some(isMaterial)) return;
  const gone = objects.get('upstreams')?.gone;
  for (const [name, upstream] of Object.entries(config.upstreams)) {
    if (!gone?.has(name) && refersTo(referencesOfUpstream(upstream), touched))
      judged.add(`upstreams.${name}`);
  }
}

function judgedRoutes(
  listener: string,
  changes: RouteChanges,
  touched: ReadonlySet<string>,
  former: Former,
  now: Parted,
): Set<number> {
  const { fresh, gone } = changes;
  const judged = new Set(fresh);
  const [before, after] = [formerRoutes(former, listener), routesIn(now, listener)];
  const goners = gone.flatMap((place) => before[place] ?? []);
  const claims = claimsOf([...fresh.map((place) => writtenClaims(after[place])), ...goners]);
  for (const place of rivalsOf(former, listener, claims, changes)) judged.add(place);
  if (touched.size === 0) return judged;
  const named = {
    certificate: namesIn(touched, 'certificate'),
    authority: namesIn(touched, 'authority'),
    upstream: namesIn(touched, 'upstream'),
  };
  for (let place = 0; place < after.length; place += 1) {
    const route = before[formerPlace(changes, place)];
    if (route && doesRouteReferTo(route, named)) judged.add(place);
  }
  return judged;
}

/** The present places of routes of before that have one of these claims. */
function rivalsOf({ tables }: Former, listener: string, claims: Claims, changes: RouteChanges): number[] {
  const table = tables.get(listener);
  const rivals = table === undefined ? [] : rivalsIn(table, claims);
  return rivals.map((place) => placeNow(changes, place)).filter((place) => place !== -1);
}

/** Some warnings name the place of another route, which may have moved. */
function addMoved(
  judged: Set<number>,
  listener: string,
  changes: RouteChanges,
  warned: readonly Warned[],
): void {
  if (changes.fresh.length + changes.gone.length === 0) return;
  for (const { path, message } of warned) {
    if (path[1] !== listener || !message.includes('routes[')) continue;
    const place = placeNow(changes, Number(path[3]));
    if (place !== -1) judged.add(place);
  }
}

const sectionOf = { certificate: 'certificates', authority: 'authorities', upstream: 'upstreams' } as const;

function namesIn(touched: ReadonlySet<string>, kind: Reference['kind']): Set<string> {
  const section = `${sectionOf[kind]}.`;
  const own = [...touched].filter((name) => name.startsWith(section));
  return new Set(own.map((name) => name.slice(section.length)));
}

function refersTo(references: readonly Reference[], touched: ReadonlySet<string>): boolean {
  return references.some(({ kind, name }) => name !== undefined && touched.has(`${sectionOf[kind]}.${name}`));
}

/** What a route claims as written, whose short forms stand for lists, and which may have faults. */
function writtenClaims(raw: unknown): Claimant {
  const { sni, name, tls, deny, alpn, ja4 } = isMapping(raw) ? raw : {};
  const list = sni === undefined ? undefined : listOf(sni).filter((one) => typeof one === 'string');
  return {
    sni: list?.map((one) => one.toLowerCase().replace(/\.$/, '')),
    name: typeof name === 'string' ? name : undefined,
    tls: tls === 'off' || tls === false ? 'off' : undefined,
    deny: deny === undefined ? undefined : true,
    alpn: alpn === undefined ? undefined : [],
    ja4: ja4 === undefined ? undefined : [],
  };
}

/**
 * With what judged objects refer to, routes that compete with judged ones, the first route with each check of
 * the user's own, and the first routes of each kind: some checks ask whether there are any.
 */
function withSurroundings(judged: Chosen, changes: Changes, former: Former, now: Parted): Chosen {
  const objects = new Set(judged.objects);
  addNamed(objects, referencesOfRest(now.rest));
  const routes = new Map<string, Set<number>>();
  const upstreams = now.lists.find(({ path }) => path[0] === 'upstreams');
  for (const [index, name] of (upstreams?.keys ?? []).entries()) {
    if (judged.objects.has(`upstreams.${name}`)) {
      addNamed(objects, referencesOfUpstream(upstreams?.values[index]));
    }
  }
  const modules = new Set(former.loaded.modules.keys());
  for (const [listener, change] of changes.routes) {
    const written = routesIn(now, listener);
    const before = formerRoutes(former, listener);
    const own = judged.routes.get(listener) ?? new Set();
    const claims = claimsOf([...own].flatMap((place) => before[formerPlace(change, place)] ?? []));
    const included = new Set([
      ...own,
      ...rivalsOf(former, listener, claims, change),
      ...firstWithModules(modules, written.length, (place) => before[formerPlace(change, place)]),
      ...firstOfKinds(written, former.tables.get(listener), change),
    ]);
    for (const place of own) addNamed(objects, referencesOfRoute(written[place]));
    routes.set(listener, included);
  }
  return { objects, routes };
}

/** Takes those that it finds out of `modules`. */
function firstWithModules(
  modules: Set<string>,
  count: number,
  formerAt: (place: number) => RouteConfig | undefined,
): number[] {
  const found: number[] = [];
  for (let place = 0; place < count && modules.size > 0; place += 1) {
    const { tls } = formerAt(place) ?? {};
    const module = typeof tls === 'object' ? tls.client_auth?.authorize : undefined;
    if (module !== undefined && modules.delete(module)) found.push(place);
  }
  return found;
}

/** The first route for plain clients, and the first for others. */
function firstOfKinds(
  written: readonly unknown[],
  table: RoutingTable | undefined,
  changes: RouteChanges,
): number[] {
  const isPlain = (raw: unknown) => isMapping(raw) && (raw['tls'] === 'off' || raw['tls'] === false);
  const placeOf = placesIn(table?.order ?? []);
  const formerly = (table?.plain ?? []).map(({ id }) => placeNow(changes, placeOf(id)));
  const plain = [...formerly, ...changes.fresh].filter((place) => isPlain(written[place]));
  const others = written.findIndex((raw) => !isPlain(raw));
  return [
    ...(plain.length > 0 ? [plain.reduce((a, b) => Math.min(a, b))] : []),
    ...(others === -1 ? [] : [others]),
  ];
}

function formerRoutes({ loaded }: Former, listener: string): readonly RouteConfig[] {
  return loaded.config.listeners[listener]?.routes ?? [];
}

/** The routes of a listener, as written. */
function routesIn({ lists }: Parted, listener: string): readonly unknown[] {
  return lists.find(({ kind, path }) => kind === 'list' && path[1] === listener)?.values ?? [];
}

function addNamed(objects: Set<string>, references: readonly Reference[]): void {
  for (const { kind, name } of references) objects.add(`${sectionOf[kind]}.${name}`);
}

/** One or a list, as a list. */
function listOf(value: unknown): readonly unknown[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value];
}
