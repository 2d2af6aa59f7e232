/**
 * Puts a machine's file and the objects of etcd together into one configuration, to be checked as a whole.
 */
import { ConfigError, type Finding, type Path } from '../config/finding.ts';
import type { ConfigText } from '../config/load.ts';
import type { PartsLoader } from '../config/parts-loader.ts';
import { withContents } from '../config/read/added.ts';
import { createFiles, type Files } from '../config/read/files.ts';
import { fullyParted, isMapping, type ObjectList, type Parted } from '../config/read/parted.ts';
import { type ParsedYaml, parseYaml } from '../config/read/yaml.ts';
import { collide } from '../config/rules/listeners.ts';
import { type Reference, referencesOfRoute, referencesOfUpstream } from '../config/rules/references.ts';
import type { SendableConfig } from '../config/transfer.ts';
import { type Binding, parseBinding } from '../net/written-address.ts';
import type { ObjectName } from './keys.ts';
import { listOf as oneOrMore, type Part, wholeObject } from './objects.ts';

/** A machine's file, in parts. */
export type Base = Pick<ConfigText, 'name' | 'directory'> & { readonly parted: Parted };

/** The text is valid: it was loaded before. */
export function parseBase({ text, name, directory }: ConfigText, environment = process.env): Base {
  const { raw, locate } = parseYaml(Buffer.from(text).toString(), environment);
  const parted = isMapping(raw) ? fullyParted({ rest: raw, lists: [], locate }) : undefined;
  if (parted === undefined) throw new TypeError(`${name} is not valid`);
  return { name, directory, parted };
}

/** Whether the file has something of that name, which an object may then not have. */
export function isInFile({ parted }: Base, name: ObjectName): boolean {
  if (name.kind === 'routes') return false;
  if (name.kind === 'listeners') return Object.hasOwn(listenersIn(parted), name.id);
  return listOf(parted, [name.kind])?.keys.includes(name.id) ?? false;
}

/** The addresses of a listener of etcd that the machine's file has, or one of the `earlier` listeners. */
export function addressesTaken({ parted, name }: Base, earlier: readonly Part[], part: Part): Finding[] {
  const own = [parted.rest['admin'], ...Object.values(listenersIn(parted))];
  const taken = [
    ...own.flatMap((one) => bindingsOf(one, `the machine's ${name}`)),
    ...earlier.flatMap(({ key, raw }) => bindingsOf(raw, key)),
  ];
  return bindingsOf(part.raw, part.key).flatMap(({ text, binding }, index) => {
    const other = taken.find((one) => collide(one.binding, binding));
    if (other === undefined) return [];
    const { line, column } = part.locate(['bind', index]);
    const message = `${text} is already taken by ${other.owner}`;
    const hint = 'give each listener its own address';
    return [{ file: part.key, line, column, path: 'bind', message, hint }];
  });
}

type Bound = { readonly text: string; readonly binding: Binding; readonly owner: string };

function bindingsOf(listener: unknown, owner: string): Bound[] {
  return oneOrMore(isMapping(listener) ? listener['bind'] : undefined).flatMap((text) => {
    const binding = typeof text === 'string' ? parseBinding(text) : undefined;
    return binding ? [{ text: String(text), binding, owner }] : [];
  });
}

export function nameTaken({ name }: Base, key: string): Finding {
  return wholeObject(key, `the machine's ${name} has something of this name, too`, 'rename one of them');
}

/**
 * Checks all of it as `loadText` checks a file; what `loader` has checked before, it need not check again. A
 * ConfigError's findings name objects by their keys.
 */
export async function loadComposed(
  base: Base,
  parts: readonly Part[],
  loader: PartsLoader,
): Promise<SendableConfig> {
  const listeners = parts.filter(({ name }) => name.kind === 'listeners');
  const rest = restWith(base, listeners);
  const routes = routesByListener(parts, listenersIn({ rest }));
  const parted: Parted = {
    rest,
    lists: [
      ...(['certificates', 'authorities', 'upstreams'] as const).map((kind) =>
        sectionWith(base, kind, parts),
      ),
      ...Object.keys(listenersIn({ rest })).map((name) => routesWith(base, name, routes.get(name) ?? [])),
    ],
    locate: locateIn(base, parts, routes),
  };
  const { name, directory } = base;
  return loader.load(parted, { name, directory, files: filesFor(parts) });
}

/** Whatever an object says: its certificates come from the object itself, never from a file. */
function filesFor(parts: readonly Part[]): Files {
  const contents = new Map<string, Buffer>();
  for (const part of parts) for (const [named, content] of part.contents) contents.set(named, content);
  const files = withContents(createFiles(), contents);
  const isOfObject = ([kind, id]: Path) =>
    kind !== 'listeners' && parts.some(({ name }) => name.kind === kind && name.id === id);
  return {
    ...files,
    async read(file, path, report) {
      if (files.held(file) !== undefined || !isOfObject(path)) return files.read(file, path, report);
      report.fault(path, 'an object names no file', 'it has the contents themselves');
      return undefined;
    },
  };
}

type RoutePart = Part & { readonly name: Extract<ObjectName, { kind: 'routes' }> };

/** In the order in which they are tried. Throws a ConfigError if a listener is not there. */
function routesByListener(
  parts: readonly Part[],
  listeners: Readonly<Record<string, unknown>>,
): Map<string, RoutePart[]> {
  const routes = parts.filter((part): part is RoutePart => part.name.kind === 'routes');
  const byListener = new Map<string, RoutePart[]>();
  const stray: Finding[] = [];
  for (const part of routes.sort((a, b) => a.order - b.order || (a.name.id < b.name.id ? -1 : 1))) {
    const { listener } = part.name;
    if (!Object.hasOwn(listeners, listener)) {
      stray.push(wholeObject(part.key, `no listener is called "${listener}"`));
      continue;
    }
    const own = byListener.get(listener);
    if (own) own.push(part);
    else byListener.set(listener, [part]);
  }
  if (stray.length > 0) throw new ConfigError(stray);
  return byListener;
}

/** The file's rest with the listeners of etcd, remembered: as long as these are the same, so is it. */
const rests = new WeakMap<Base, { readonly listeners: readonly Part[]; readonly rest: Parted['rest'] }>();

function restWith(base: Base, listeners: readonly Part[]): Parted['rest'] {
  const known = rests.get(base);
  const isSame = known?.listeners.every((part, index) => part === listeners[index]);
  if (known && isSame && known.listeners.length === listeners.length) return known.rest;
  const { rest: own } = base.parted;
  const added = listeners.map((part) => [part.name.id, part.raw]);
  const rest = { ...own, listeners: { ...listenersIn(base.parted), ...Object.fromEntries(added) } };
  rests.set(base, { listeners, rest });
  return rest;
}

function sectionWith({ parted }: Base, kind: Part['name']['kind'], parts: readonly Part[]): ObjectList {
  const own = parts.filter(({ name }) => name.kind === kind);
  const { keys = [], values = [] } = listOf(parted, [kind]) ?? {};
  return {
    path: [kind],
    kind: 'mapping',
    keys: [...keys, ...own.map(({ name }) => name.id)],
    values: [...values, ...own.map(({ raw }) => raw)],
  };
}

/** Until there is a route for a listener, it refuses. */
const none: readonly unknown[] = [{ name: 'cluster', deny: 'held' }];

/** Behind the file's own. */
function routesWith({ parted }: Base, listener: string, own: readonly RoutePart[]): ObjectList {
  const path = ['listeners', listener, 'routes'];
  const values = [...(listOf(parted, path)?.values ?? []), ...own.map(({ raw }) => raw)];
  return { path, kind: 'list', keys: [], values: values.length > 0 ? values : none };
}

function locateIn(
  { parted }: Base,
  parts: readonly Part[],
  routes: ReadonlyMap<string, readonly RoutePart[]>,
): ParsedYaml['locate'] {
  let owners: Map<string, Part> | undefined;
  return (path, at) => {
    owners ??= new Map(parts.map((part) => [`${part.name.kind}/${part.name.id}`, part]));
    const [kind, id, within, index] = path;
    if (kind === 'listeners' && within === 'routes' && typeof index === 'number') {
      const before = listOf(parted, path.slice(0, 3))?.values.length ?? 0;
      const route = routes.get(String(id))?.[index - before];
      if (route) return route.locate(path.slice(4), at);
    }
    const part = owners.get(`${kind}/${id}`);
    return part ? part.locate(path.slice(2), at) : parted.locate(path, at);
  };
}

/** What it refers to, by the names of that: `upstreams/orders`. */
export function referencesOf(part: Part): readonly string[] {
  const known = referencesOfParts.get(part) ?? readReferences(part);
  referencesOfParts.set(part, known);
  return known;
}

const referencesOfParts = new WeakMap<Part, readonly string[]>();

function readReferences({ name, raw }: Part): string[] {
  if (name.kind === 'upstreams') return referencesOfUpstream(raw).flatMap(named);
  return name.kind === 'routes'
    ? [`listeners/${name.listener}`, ...referencesOfRoute(raw).flatMap(named)]
    : [];
}

const sectionOf = { certificate: 'certificates', authority: 'authorities', upstream: 'upstreams' } as const;

function named({ kind, name }: Reference): string[] {
  return typeof name === 'string' ? [`${sectionOf[kind]}/${name}`] : [];
}

function listOf({ lists }: Parted, wanted: Path): ObjectList | undefined {
  return lists.find(
    ({ path }) => path.length === wanted.length && path.every((step, at) => step === wanted[at]),
  );
}

function listenersIn({ rest }: Pick<Parted, 'rest'>): Record<string, unknown> {
  return isMapping(rest['listeners']) ? rest['listeners'] : {};
}
