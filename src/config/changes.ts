/** What differs between two states of a configuration in parts, object by object. */
import type { ObjectList, Parted, Section } from './read/parted.ts';

export type Changes = {
  /** By section: the names of objects that are new or other than before, and of those that are gone. */
  readonly objects: ReadonlyMap<Section, ObjectChanges>;
  /** By the name of the listener. */
  readonly routes: ReadonlyMap<string, RouteChanges>;
};

type ObjectChanges = { readonly fresh: ReadonlySet<string>; readonly gone: ReadonlySet<string> };

export type RouteChanges = {
  /** For each route, the place it had before; -1: it is new. */
  readonly formerly: Int32Array;
  /** The places of those that are new. */
  readonly fresh: readonly number[];
  /** The former places of those that are gone. */
  readonly gone: readonly number[];
};

/** undefined if anything but objects differs. */
export function changesBetween(before: Parted, after: Parted): Changes | undefined {
  if (before.rest !== after.rest || before.lists.length !== after.lists.length) return undefined;
  const objects = new Map<Section, ObjectChanges>();
  const routes = new Map<string, RouteChanges>();
  for (const list of after.lists) {
    const former = before.lists.find(({ path }) => isSamePath(path, list.path));
    if (former === undefined) return undefined;
    const [section, listener] = list.path;
    if (list.kind === 'list') routes.set(String(listener), routeChanges(former.values, list.values));
    else objects.set(section as Section, objectChanges(former, list));
  }
  return { objects, routes };
}

function isSamePath(one: ObjectList['path'], other: ObjectList['path']): boolean {
  return one.length === other.length && one.every((step, index) => step === other[index]);
}

function objectChanges(before: ObjectList, after: ObjectList): ObjectChanges {
  const gone = new Map(before.keys.map((key, index) => [key, before.values[index]]));
  const fresh = new Set<string>();
  for (const [index, key] of after.keys.entries()) {
    if (gone.get(key) !== after.values[index]) fresh.add(key);
    gone.delete(key);
  }
  return { fresh, gone: new Set(gone.keys()) };
}

function routeChanges(before: readonly unknown[], after: readonly unknown[]): RouteChanges {
  const { from, to, behind } = difference(before, after);
  const formerly = new Int32Array(after.length);
  for (let index = 0; index < from; index += 1) formerly[index] = index;
  for (let index = behind; index < after.length; index += 1) formerly[index] = index - behind + to;
  // Between the first and the last change most may be as before, too.
  const middle = new Map<unknown, number[]>();
  for (let index = from; index < to; index += 1) {
    const there = middle.get(before[index]);
    if (there) there.push(index);
    else middle.set(before[index], [index]);
  }
  const fresh: number[] = [];
  for (let index = from; index < behind; index += 1) {
    const value = after[index];
    const place = typeof value === 'object' && value !== null ? middle.get(value)?.shift() : undefined;
    formerly[index] = place ?? -1;
    if (place === undefined) fresh.push(index);
  }
  return { formerly, fresh, gone: [...middle.values()].flat() };
}

/** Where two lists begin and end to be alike. */
export function difference(before: readonly unknown[], after: readonly unknown[]) {
  const most = Math.min(before.length, after.length);
  let from = 0;
  while (from < most && before[from] === after[from]) from += 1;
  let [to, behind] = [before.length, after.length];
  while (to > from && behind > from && before[to - 1] === after[behind - 1]) {
    to -= 1;
    behind -= 1;
  }
  return { from, to, behind };
}
