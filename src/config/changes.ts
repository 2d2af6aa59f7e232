/** What differs between two states of a configuration in parts, object by object. */
import type { ObjectList, Parted, Section } from './read/parted.ts';

export type Changes = {
  /** By section: the names of objects that are new or other than before, and of those that are gone. */
  readonly objects: ReadonlyMap<Section, ObjectChanges>;
  /** By the name of the listener. */
  readonly routes: ReadonlyMap<string, RouteChanges>;
};

type ObjectChanges = { readonly fresh: ReadonlySet<string>; readonly gone: ReadonlySet<string> };

/**
 * Before `from` nothing has changed, and from `to`, which is at `behind` now, everything is the same again.
 */
export type RouteChanges = {
  readonly from: number;
  readonly to: number;
  readonly behind: number;
  /** For each route between `from` and `behind`, the place it had before; -1: it is new. */
  readonly formerly: Int32Array;
  /** For each between `from` and `to`, the place it has now; -1: it is gone. */
  readonly now: Int32Array;
  /** The places of those that are new. */
  readonly fresh: readonly number[];
  /** The former places of those that are gone. */
  readonly gone: readonly number[];
};

/** The place that a route had before; -1: it is new. */
export function formerPlace({ from, to, behind, formerly }: RouteChanges, place: number): number {
  if (place < from) return place;
  return place >= behind ? place - behind + to : (formerly[place - from] ?? -1);
}

/** The place of a route, by that which it had before; -1: it is gone. */
export function placeNow({ from, to, behind, now }: RouteChanges, former: number): number {
  if (former < from) return former;
  return former >= to ? former - to + behind : (now[former - from] ?? -1);
}

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
  if (before.keys === after.keys && before.values === after.values) return noChanges;
  const gone = new Map(before.keys.map((key, index) => [key, before.values[index]]));
  const fresh = new Set<string>();
  for (const [index, key] of after.keys.entries()) {
    if (gone.get(key) !== after.values[index]) fresh.add(key);
    gone.delete(key);
  }
  return { fresh, gone: new Set(gone.keys()) };
}

const noChanges: ObjectChanges = { fresh: new Set(), gone: new Set() };

/** A route that has changed places with others is one that is gone, and a new one: its order matters. */
function routeChanges(before: readonly unknown[], after: readonly unknown[]): RouteChanges {
  const { from, to, behind } = difference(before, after);
  // Between the first and the last change most may be as before, too.
  const former = new Map<unknown, number[]>();
  for (let index = from; index < to; index += 1) {
    const there = former.get(before[index]);
    if (there) there.push(index);
    else former.set(before[index], [index]);
  }
  const found = new Int32Array(behind - from);
  for (let index = from; index < behind; index += 1) {
    const value = after[index];
    const place = typeof value === 'object' && value !== null ? former.get(value)?.shift() : undefined;
    found[index - from] = place ?? -1;
  }
  const formerly = longestIncreasing(found);
  const now = new Int32Array(to - from).fill(-1);
  for (const [index, place] of formerly.entries()) if (place !== -1) now[place - from] = from + index;
  const missing = (places: Int32Array) =>
    [...places.keys()].filter((at) => places[at] === -1).map((at) => from + at);
  return { from, to, behind, formerly, now, fresh: missing(formerly), gone: missing(now) };
}

/** As many of the places as are in their order, and -1 instead of the others. */
function longestIncreasing(places: Int32Array): Int32Array {
  // By length, where the row of that length ends that has the smallest last place.
  const ends: number[] = [];
  const previous = new Int32Array(places.length).fill(-1);
  for (const [index, place] of places.entries()) {
    if (place === -1) continue;
    let [least, most] = [0, ends.length];
    while (least < most) {
      const middle = (least + most) >>> 1;
      if ((places[ends[middle] ?? -1] ?? -1) < place) least = middle + 1;
      else most = middle;
    }
    previous[index] = ends[least - 1] ?? -1;
    ends[least] = index;
  }
  const kept = new Int32Array(places.length).fill(-1);
  for (let index = ends.at(-1) ?? -1; index !== -1; index = previous[index] ?? -1)
    kept[index] = places[index] ?? -1;
  return kept;
}

/** Where two lists begin and end to be alike. */
function difference(before: readonly unknown[], after: readonly unknown[]) {
  if (before === after) return { from: before.length, to: before.length, behind: before.length };
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

/** A list that has `fresh` instead of what is between two places. */
export function spliced<T>(list: readonly T[], from: number, to: number, fresh: readonly T[]): T[] {
  // Spreading copies any list at once, even a frozen one; but a call takes only so many arguments.
  const all = [...list];
  if (fresh.length > 1000) return all.slice(0, from).concat(fresh, all.slice(to));
  all.splice(from, to - from, ...fresh);
  return all;
}
