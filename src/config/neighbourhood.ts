/**
 * What has to be checked again after a change: the objects that changed, those that refer to them, and routes
 * that compete with changed ones for the same clients. Everything else was found valid before, and nothing
 * that it depends on is another now.
 */
import type { Changes, RouteChanges } from './changes.ts';
import type { Checked, LoadedConfig, Warned } from './load.ts';
import { isMapping, type Parted } from './read/parted.ts';
import {
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

/** `stale` has objects whose files have changed. */
export function neighbourhoodOf(
  changes: Changes,
  stale: ReadonlySet<string>,
  { loaded: former, warned }: Checked,
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
  addUpstreamsWith(touched, changes, former, judged.objects);
  for (const [listener, own] of changes.routes) {
    const routes = judgedRoutes(listener, own, touched, former, now);
    addMoved(routes, listener, own, warned);
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
  { formerly, fresh, gone }: RouteChanges,
  touched: ReadonlySet<string>,
  former: LoadedConfig,
  now: Parted,
): Set<number> {
  const judged = new Set(fresh);
  const before = former.config.listeners[listener]?.routes ?? [];
  const after = routesIn(now, listener);
  const claims = createClaims();
  for (const index of fresh) addClaims(claims, writtenClaims(after[index]));
  for (const index of gone) if (before[index]) addClaims(claims, before[index]);
  if (touched.size === 0 && isEmpty(claims)) return judged;
  for (let index = 0; index < formerly.length; index += 1) {
    const route = before[formerly[index] ?? -1];
    if (route === undefined) continue;
    const isTouched = touched.size > 0 && refersTo(referencesOfRoute(route), touched);
    if (isTouched || competes(route, claims)) judged.add(index);
  }
  return judged;
}

/** Some warnings name the place of another route, which may have moved. */
function addMoved(
  judged: Set<number>,
  listener: string,
  { formerly, fresh, gone }: RouteChanges,
  warned: readonly Warned[],
): void {
  if (fresh.length + gone.length === 0) return;
  const places = new Set(
    warned.flatMap(({ path, message }) =>
      path[1] === listener && message.includes('routes[') ? [Number(path[3])] : [],
    ),
  );
  if (places.size === 0) return;
  for (const [index, place] of formerly.entries()) if (places.has(place)) judged.add(index);
}

const sectionOf = { certificate: 'certificates', authority: 'authorities', upstream: 'upstreams' } as const;

function refersTo(references: readonly Reference[], touched: ReadonlySet<string>): boolean {
  return references.some(({ kind, name }) => name !== undefined && touched.has(`${sectionOf[kind]}.${name}`));
}

/** What routes of a listener can only have once, or one before the other. */
type Claims = { readonly names: Set<string>; readonly labels: Set<string>; plain: boolean };
type Claimant = Pick<RouteConfig, 'sni' | 'name' | 'tls' | 'deny' | 'alpn' | 'ja4'>;

function createClaims(): Claims {
  return { names: new Set(), labels: new Set(), plain: false };
}

function isEmpty({ names, labels, plain }: Claims): boolean {
  return names.size + labels.size === 0 && !plain;
}

const anyName = [''];

function addClaims(claims: Claims, route: Claimant): void {
  if (route.tls !== 'off') for (const name of route.sni ?? anyName) claims.names.add(name);
  if (route.name !== undefined) claims.labels.add(route.name);
  if (maybePlain(route)) claims.plain = true;
}

function competes(route: RouteConfig, { names, labels, plain }: Claims): boolean {
  // A hundred thousand routes are asked for each change.
  if (route.tls !== 'off') for (const name of route.sni ?? anyName) if (names.has(name)) return true;
  if (route.name !== undefined && labels.has(route.name)) return true;
  return plain && maybePlain(route);
}

function maybePlain({ tls, deny, sni, alpn, ja4 }: Claimant): boolean {
  return tls === 'off' || (deny !== undefined && !sni && !alpn && !ja4);
}

/** The same of a route as written, whose short forms stand for lists, and which may have faults. */
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
function withSurroundings(judged: Chosen, changes: Changes, former: LoadedConfig, now: Parted): Chosen {
  const objects = new Set(judged.objects);
  addNamed(objects, referencesOfRest(now.rest));
  const routes = new Map<string, Set<number>>();
  const modules = new Set(former.modules.keys());
  const upstreams = now.lists.find(({ path }) => path[0] === 'upstreams');
  for (const [index, name] of (upstreams?.keys ?? []).entries()) {
    if (judged.objects.has(`upstreams.${name}`)) {
      addNamed(objects, referencesOfUpstream(upstreams?.values[index]));
    }
  }
  for (const [listener, own] of judged.routes) {
    const written = routesIn(now, listener);
    const included = new Set([...own, ...firstOfKinds(written)]);
    const before = former.config.listeners[listener]?.routes ?? [];
    addRivals(included, own, before, changes.routes.get(listener)?.formerly ?? new Int32Array(), modules);
    for (const index of own) addNamed(objects, referencesOfRoute(written[index]));
    routes.set(listener, included);
  }
  return { objects, routes };
}

function addRivals(
  included: Set<number>,
  judged: ReadonlySet<number>,
  before: readonly RouteConfig[],
  formerly: Int32Array,
  modules: Set<string>,
): void {
  const claims = createClaims();
  for (const index of judged) {
    const route = before[formerly[index] ?? -1];
    if (route) addClaims(claims, route);
  }
  if (isEmpty(claims) && modules.size === 0) return;
  for (let index = 0; index < formerly.length; index += 1) {
    const route = before[formerly[index] ?? -1];
    if (route === undefined) continue;
    const module = typeof route.tls === 'object' ? route.tls.client_auth?.authorize : undefined;
    if (competes(route, claims) || (module !== undefined && modules.delete(module))) included.add(index);
  }
}

function firstOfKinds(written: readonly unknown[]): number[] {
  const isPlain = (raw: unknown) => isMapping(raw) && (raw['tls'] === 'off' || raw['tls'] === false);
  return [written.findIndex(isPlain), written.findIndex((raw) => !isPlain(raw))].filter((at) => at !== -1);
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
