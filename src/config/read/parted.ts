/**
 * A configuration in parts: the objects of which there may be many, and the rest. An object that has not
 * changed is the same value as before, so that it need not be checked again.
 */
import type { Path } from '../finding.ts';
import type { ParsedYaml } from './yaml.ts';

/** Values belong to all later loads: do not change them. */
export type Parted = {
  /** The rest. If it has not changed it is the same value, too. What is in `lists` is null, or not there. */
  readonly rest: Readonly<Record<string, unknown>>;
  readonly lists: readonly ObjectList[];
  readonly locate: ParsedYaml['locate'];
};

/** The routes of a listener, or the entries of `certificates`, `authorities` or `upstreams`. */
export type ObjectList = {
  readonly path: Path;
  readonly kind: 'list' | 'mapping';
  /** The names of the entries of a mapping. */
  readonly keys: readonly string[];
  readonly values: readonly unknown[];
};

const sections = ['certificates', 'authorities', 'upstreams'] as const;
export type Section = (typeof sections)[number];

/** As one value. Lists and mappings of objects are copied, the objects are shared. */
export function wholeOf({ rest, lists }: Parted): Record<string, unknown> {
  const whole: Record<string, unknown> = { ...rest };
  if (isMapping(rest['listeners'])) {
    const listeners = Object.entries(rest['listeners']);
    whole['listeners'] = Object.fromEntries(
      listeners.map(([name, it]) => [name, isMapping(it) ? { ...it } : it]),
    );
  }
  for (const { path, kind, keys, values } of lists) {
    const parent = valueAt(whole, path.slice(0, -1)) as Record<string | number, unknown>;
    const last = path.at(-1) ?? '';
    // An empty section in the file is null.
    if (kind === 'mapping' && keys.length === 0 && parent[last] === undefined) continue;
    parent[last] =
      kind === 'list' ? [...values] : Object.fromEntries(keys.map((key, index) => [key, values[index]]));
  }
  return whole;
}

/** By the rest they were written in. */
const takenOut = new WeakMap<object, Pick<Parted, 'rest' | 'lists'>>();

/**
 * The same with every object in a list, even those that were written where they cannot be parsed one by one.
 * undefined if it is not in the form that a configuration has.
 */
export function fullyParted({ rest, lists, locate }: Parted): Parted | undefined {
  const inner = takenOut.get(rest) ?? takeOut(rest, lists);
  if (inner === undefined) return undefined;
  takenOut.set(rest, inner);
  return { rest: inner.rest, lists: [...lists, ...inner.lists], locate };
}

function takeOut(
  rest: Parted['rest'],
  lists: readonly ObjectList[],
): Pick<Parted, 'rest' | 'lists'> | undefined {
  const bare: Record<string, unknown> = { ...rest };
  const taken: ObjectList[] = [];
  const isCut = (path: Path) => lists.some((list) => list.path.join('\n') === path.join('\n'));
  for (const section of sections) {
    const written = bare[section];
    if (isCut([section]) || written === undefined || written === null) continue;
    if (!isMapping(written)) return undefined;
    taken.push({
      path: [section],
      kind: 'mapping',
      keys: Object.keys(written),
      values: Object.values(written),
    });
    bare[section] = null;
  }
  const listeners = bare['listeners'] ?? {};
  if (!isMapping(listeners)) return undefined;
  const bareListeners: Record<string, unknown> = {};
  for (const [name, listener] of Object.entries(listeners)) {
    bareListeners[name] = listener;
    const path = ['listeners', name, 'routes'];
    if (!isMapping(listener)) return undefined;
    if (isCut(path) || listener['routes'] === undefined) continue;
    if (!Array.isArray(listener['routes'])) return undefined;
    taken.push({ path, kind: 'list', keys: [], values: listener['routes'] });
    bareListeners[name] = { ...listener, routes: null };
  }
  if (bare['listeners'] !== undefined) bare['listeners'] = bareListeners;
  return { rest: bare, lists: taken };
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function valueAt(value: unknown, path: Path): unknown {
  let found = value;
  for (const step of path) {
    if (!isMapping(found) || !Object.hasOwn(found, step)) return undefined;
    found = found[step];
  }
  return found;
}
