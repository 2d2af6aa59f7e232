/** Which clients objects are for, and to which others they refer: what decides together, and what apart. */
import { asOneLabel, clientsOf, patternOf, patternsAbove } from '../../tools/import/clients.ts';
import { referencesOf } from '../admin-api/references.ts';
import { isFields, keyOf, type StoredObject } from './objects.ts';

type Links = {
  /** The names and patterns that it is for. */
  readonly patterns: readonly string[];
  /** Whether it may concern clients of any name. */
  readonly isCommon: boolean;
  /** The keys of the objects that it refers to. */
  readonly references: readonly string[];
};

/** Everything that may have a say about the clients of a name. */
export type Neighbours = {
  /** The names and patterns that objects mention, in the order in which their routes have to stand. */
  readonly names: readonly string[];
  /** Those for which there is a certificate. */
  readonly certified: readonly string[];
  /**
   * The objects for clients of that name, those for wider patterns, and those that they refer to, in the
   * order in which they were created. '' has those for any name.
   */
  readonly of: (name: string) => StoredObject[];
};

export function neighboursIn(objects: ReadonlyMap<string, StoredObject>): Neighbours {
  const byPattern = new Map<string, StoredObject[]>();
  const common: StoredObject[] = [];
  const certified: string[] = [];
  for (const object of objects.values()) {
    const { patterns, isCommon } = linksOf(object);
    if (isCommon) common.push(object);
    if (object.kind === 'ssls' && object.value['status'] !== 0) certified.push(...patterns);
    for (const pattern of patterns) {
      const there = byPattern.get(pattern);
      if (there) there.push(object);
      else byPattern.set(pattern, [object]);
    }
  }
  return {
    names: inOrder([...byPattern.keys()]),
    certified,
    of(name) {
      const wider = name === '' ? [] : [name, ...patternsAbove(clientsOf(name))];
      const found = new Set([...common, ...wider.flatMap((pattern) => byPattern.get(pattern) ?? [])]);
      // What is added while it is iterated over is iterated over, too.
      for (const object of found) {
        for (const key of linksOf(object).references) {
          const other = objects.get(key);
          if (other) found.add(other);
        }
      }
      return [...found].sort(byCreation);
    },
  };
}

/** The keys of objects, and of everything that they refer to, whether it is there or not. */
export function keysOf(objects: readonly StoredObject[]): ReadonlySet<string> {
  return new Set(objects.flatMap((object) => [keyOf(object), ...linksOf(object).references]));
}

/**
 * Whether changes may have a say about the clients of a name, whose neighbours had these keys before.
 * `changed` has both versions of each object.
 */
export function reachOf(
  changed: readonly StoredObject[],
): (name: string, keys: ReadonlySet<string>) => boolean {
  const changedKeys = new Set(changed.map(keyOf));
  const links = changed.map(linksOf);
  const patterns = new Set(links.flatMap((one) => one.patterns));
  const isForAll = links.some(({ isCommon }) => isCommon);
  const areWider = [...patterns].some((pattern) => /^[*+]/.test(pattern));
  return (name, keys) => {
    if (isForAll || patterns.has(name)) return true;
    if (areWider && name !== '' && patternsAbove(clientsOf(name)).some((one) => patterns.has(one)))
      return true;
    for (const key of changedKeys) if (keys.has(key)) return true;
    return false;
  };
}

/** Patterns for one label come first: in a configuration, those for any depth have the same rank. */
function inOrder(names: readonly string[]): string[] {
  const isOneLabel = (name: string) => name.startsWith('+.');
  return [...names.filter(isOneLabel), ...names.filter((name) => !isOneLabel(name))];
}

function byCreation(a: StoredObject, b: StoredObject): number {
  if (a.created !== b.created) return a.created - b.created;
  const [one, other] = [keyOf(a), keyOf(b)];
  return one < other ? -1 : one > other ? 1 : 0;
}

const known = new WeakMap<StoredObject, Links>();

function linksOf(object: StoredObject): Links {
  const links = known.get(object) ?? readLinks(object);
  known.set(object, links);
  return links;
}

function readLinks({ kind, value }: StoredObject): Links {
  const references = referencesOf(kind, value).map(keyOf);
  if (kind === 'stream_routes') {
    const { sni } = value;
    const pattern = typeof sni === 'string' || typeof sni === 'number' ? patternOf(String(sni)) : undefined;
    return { patterns: pattern === undefined ? [] : [pattern], isCommon: pattern === undefined, references };
  }
  if (kind !== 'ssls' || value['type'] === 'client') return { patterns: [], isCommon: false, references };
  const { snis, sni } = value;
  const names = Array.isArray(snis) && snis.length > 0 ? snis : [sni];
  const texts = names.flatMap((name) => (isFields(name) || name === undefined ? [] : [String(name)]));
  const patterns = texts.flatMap((text) => patternOf(text) ?? []);
  return {
    patterns: [...new Set(patterns.flatMap((one) => [one, asOneLabel(one)]))],
    isCommon: texts.includes('*'),
    references,
  };
}
