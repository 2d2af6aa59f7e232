/**
 * Loads a configuration of which only some objects differ from the last time: those are checked, with
 * everything that they depend on and everything that depends on them, by the same rules as a whole file.
 */
import { type Changes, changesBetween, placeNow, type RouteChanges, spliced } from './changes.ts';
import type { Path } from './finding.ts';
import { type Checked, checkParsed, type LoadedConfig, type Origin, placed, type Warned } from './load.ts';
import { authorityMaterial } from './material/authorities.ts';
import { certificateMaterial } from './material/certificates.ts';
import type { MaterialMemory } from './material/memory.ts';
import { type Chosen, neighbourhoodOf, sizeOf } from './neighbourhood.ts';
import { type ObjectList, type Parted, type Section, wholeOf } from './read/parted.ts';
import type { ParsedYaml } from './read/yaml.ts';
import type { Names } from './rules/references.ts';
import type { Config, ListenerConfig, RouteConfig } from './schema/schema.ts';
import type { Tables } from './transfer.ts';

/** What a load has found, for the next one. */
export type Last = Checked & {
  readonly directory: string;
  readonly parted: Parted;
  /** The tables of its listeners. */
  readonly tables: Tables;
};

export type Changed = Checked & {
  readonly changes: Changes;
  /** How many objects were checked. */
  readonly checked: number;
};

/** Where so much has to be checked, a whole check costs little more. */
const mostChecked = 2000;

/**
 * `parted` is in full. undefined if the whole must be checked. Rejects with a ConfigError if what changed has
 * faults.
 */
export async function loadChanged(
  parted: Parted,
  origin: Origin & { readonly material: MaterialMemory },
  last: Last,
): Promise<Changed | undefined> {
  const { name, directory } = origin;
  if (last.directory !== directory) return undefined;
  const changes = changesBetween(last.parted, parted);
  if (changes === undefined) return undefined;
  const stale = staleIn(last.loaded, changes, origin);
  const { judged, included } = neighbourhoodOf(changes, stale, last, parted);
  const checked = sizeOf(included);
  if (sizeOf(judged) > mostChecked || checked > 2 * mostChecked) return undefined;
  const reduced = reduce(parted, included);
  const found = await checkParsed(reduced, {
    ...origin,
    names: namesOf(parted),
    placeOf: (listener, index) => reduced.places.get(listener)?.[index] ?? index,
  });
  const config = configOf(found.loaded.config, last.loaded.config, parted, changes, reduced.places);
  const materials = materialsOf(found.loaded, last.loaded, config, judged);
  const foundNow = found.warned.map((one) => ({ ...one, path: pathInWhole(one.path, reduced.places) }));
  const warned = warningsOf(foundNow, last.warned, judged, changes);
  const files = filesOf(found.loaded, last.loaded, config, origin);
  const warnings = placed(warned, name, parted);
  return { loaded: { ...found.loaded, config, ...materials, warnings, files }, warned, changes, checked };
}

/**
 * Certificates and authorities whose settings are as before, but not their files, or what dates make of them.
 */
function staleIn(
  last: LoadedConfig,
  { objects }: Changes,
  { material, files }: Origin & { readonly material: MaterialMemory },
): Set<string> {
  const stale = new Set<string>();
  for (const section of ['certificates', 'authorities'] as const) {
    const gone = objects.get(section)?.gone;
    for (const own of Object.keys(last.config[section])) {
      const name = `${section}.${own}`;
      if (!gone?.has(own) && material.isStale(name, files, last[section].get(own))) stale.add(name);
    }
  }
  return stale;
}

type Reduced = ParsedYaml & {
  /** By listener: where the routes that are left are in the whole. */
  readonly places: ReadonlyMap<string, readonly number[]>;
};

/** The configuration with the included objects only. */
function reduce(parted: Parted, { objects, routes }: Chosen): Reduced {
  const places = new Map<string, number[]>();
  const lists = parted.lists.map((list): ObjectList => {
    const { path, kind, keys, values } = list;
    if (kind === 'list') {
      const listener = String(path[1]);
      const kept = [...(routes.get(listener) ?? [])].sort((a, b) => a - b);
      places.set(listener, kept);
      return { ...list, values: kept.map((index) => values[index]) };
    }
    const wanted = namesFrom(String(path[0]), objects);
    const kept: number[] = [];
    for (let index = 0; index < keys.length; index += 1) if (wanted.has(keys[index] ?? '')) kept.push(index);
    return { ...list, keys: kept.map((at) => keys[at] ?? ''), values: kept.map((at) => values[at]) };
  });
  return {
    raw: wholeOf({ ...parted, lists }),
    faults: [],
    locate: (path, at) => parted.locate(pathInWhole(path, places), at),
    places,
  };
}

function pathInWhole(path: Path, places: Reduced['places']): Path {
  const [section, listener, part, index] = path;
  if (section !== 'listeners' || part !== 'routes' || typeof index !== 'number') return path;
  const place = places.get(String(listener))?.[index] ?? index;
  return [section, String(listener), part, place, ...path.slice(4)];
}

/** The names of those objects that are in a section. */
function namesFrom(section: string, objects: ReadonlySet<string>): Set<string> {
  const own = [...objects].filter((name) => name.startsWith(`${section}.`));
  return new Set(own.map((name) => name.slice(section.length + 1)));
}

/** All names of objects, for references to them. */
function namesOf({ lists }: Parted): Names {
  const keysOf = (section: Section) => lists.find(({ path }) => path[0] === section)?.keys ?? [];
  const authorities = ['system', ...keysOf('authorities')];
  return { certificates: keysOf('certificates'), authorities, upstreams: keysOf('upstreams') };
}

/** What is as before stays the same value. */
function configOf(
  found: Config,
  last: Config,
  { lists }: Parted,
  { objects, routes }: Changes,
  places: Reduced['places'],
): Config {
  const sectionOf = <Section extends 'certificates' | 'authorities' | 'upstreams'>(section: Section) => {
    const list = lists.find(({ path }) => path[0] === section);
    const changes = objects.get(section);
    if (list === undefined || changes === undefined) return found[section];
    if (changes.fresh.size + changes.gone.size === 0) return last[section];
    const from = (key: string) => (changes.fresh.has(key) ? found : last)[section][key];
    return Object.freeze(Object.fromEntries(list.keys.map((key) => [key, from(key)]))) as Config[Section];
  };
  const listeners: Record<string, ListenerConfig> = {};
  for (const [name, listener] of Object.entries(found.listeners)) {
    const own = routes.get(name);
    const before = last.listeners[name]?.routes ?? [];
    const all = own ? routesOf(listener.routes, before, own, places.get(name) ?? []) : listener.routes;
    listeners[name] = Object.freeze({ ...listener, routes: all });
  }
  return Object.freeze({
    ...found,
    certificates: sectionOf('certificates'),
    authorities: sectionOf('authorities'),
    upstreams: sectionOf('upstreams'),
    listeners: Object.freeze(listeners),
  });
}

function routesOf(
  found: readonly RouteConfig[],
  before: readonly RouteConfig[],
  { from, to, formerly, fresh, gone }: RouteChanges,
  places: readonly number[],
): RouteConfig[] {
  if (fresh.length + gone.length === 0) return before as RouteConfig[];
  const foundAt = new Map(places.map((place, index) => [place, found[index]]));
  const between = Array.from(formerly, (place, index) => before[place] ?? foundAt.get(from + index));
  return spliced(before, from, to, between as RouteConfig[]);
}

function materialsOf(found: LoadedConfig, last: LoadedConfig, config: Config, { objects }: Chosen) {
  const of = <Section extends 'certificates' | 'authorities'>(section: Section) => {
    if (config[section] === last.config[section]) {
      const same = new Map<string, unknown>(last[section]);
      for (const name of namesFrom(section, objects)) same.set(name, found[section].get(name));
      return same as LoadedConfig[Section] & Map<string, unknown>;
    }
    const isJudged = (name: string) => objects.has(`${section}.${name}`);
    const one = (name: string) => (isJudged(name) ? found : last)[section].get(name);
    const all = [...Object.keys(config[section]), ...(section === 'authorities' ? ['system'] : [])];
    return new Map(all.map((name) => [name, one(name)])) as LoadedConfig[Section] & Map<string, unknown>;
  };
  return { certificates: of('certificates'), authorities: of('authorities') };
}

/** What was said about objects that were not judged again is as before. */
function warningsOf(
  found: readonly Warned[],
  last: readonly Warned[],
  judged: Chosen,
  { objects, routes }: Changes,
): Warned[] {
  const isJudged = ({ path }: Warned) => {
    const [section, name, , index] = path;
    if (!isAboutObject(path)) return true;
    if (section === 'listeners') return judged.routes.get(String(name))?.has(Number(index)) === true;
    return judged.objects.has(`${section}.${name}`);
  };
  const kept = last.flatMap((warning) => {
    const { path } = warning;
    const [section, listener, , index] = path;
    if (!isAboutObject(path)) return [];
    if (section !== 'listeners') {
      const isGone = objects.get(section as Section)?.gone.has(String(listener));
      return isGone || isJudged(warning) ? [] : [warning];
    }
    const changed = routes.get(String(listener));
    const place = changed ? placeNow(changed, Number(index)) : -1;
    const moved = { ...warning, path: [section, String(listener), 'routes', place, ...path.slice(4)] };
    return place === -1 || isJudged(moved) ? [] : [moved];
  });
  return [...kept, ...found.filter(isJudged)];
}

function isAboutObject([section, , part, index]: Path): boolean {
  if (section === 'listeners') return part === 'routes' && typeof index === 'number';
  return section === 'certificates' || section === 'authorities' || section === 'upstreams';
}

/** Only those on disk. If they are those of last time, it is the same list. */
function filesOf(
  found: LoadedConfig,
  last: LoadedConfig,
  { certificates, authorities }: Config,
  { files }: Origin,
): readonly string[] {
  const named = [filesNamedIn(certificates, certificateFiles), filesNamedIn(authorities, authorityFiles)];
  const isNamed = (file: string) => named.some(({ known }) => known.has(file));
  const others = found.files.filter((file) => !isNamed(file));
  const before = otherFiles.get(last.files);
  const areSectionsAsBefore =
    certificates === last.config.certificates && authorities === last.config.authorities;
  if (
    areSectionsAsBefore &&
    before?.length === others.length &&
    before.every((file) => others.includes(file))
  ) {
    return last.files;
  }
  const isOnDisk = (file: string) => files.held(file) === undefined;
  const all = [...new Set([...others, ...named.flatMap((one) => one.all)])].filter(isOnDisk);
  const isAsBefore = last.files.every((file) => (isNamed(file) && isOnDisk(file)) || others.includes(file));
  const list = isAsBefore && all.length === last.files.length ? last.files : all;
  otherFiles.set(list, others);
  return list;
}

/** Which of a list of files are no certificate's or authority's: there are few of these. */
const otherFiles = new WeakMap<readonly string[], readonly string[]>();

const certificateFiles = (name: string, { pairs }: Config['certificates'][string]) =>
  certificateMaterial(name, pairs).named;
const authorityFiles = (name: string, settings: Config['authorities'][string]) =>
  authorityMaterial(name, settings).named;

type NamedFiles = { readonly all: readonly string[]; readonly known: ReadonlySet<string> };
/** By the section: most changes leave it as it was, and it may name twenty thousand. */
const namedFiles = new WeakMap<object, NamedFiles>();

function filesNamedIn<T>(
  section: Readonly<Record<string, T>>,
  named: (name: string, one: T) => readonly string[],
): NamedFiles {
  const before = namedFiles.get(section);
  if (before) return before;
  const known = new Set(Object.entries(section).flatMap(([name, one]) => named(name, one)));
  const made = { all: [...known], known };
  namedFiles.set(section, made);
  return made;
}
