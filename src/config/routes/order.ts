/**
 * Where routes are in their list. A table knows each route by an id, which it keeps as long as it is in the
 * list: if one is added or removed, nothing else that is known about the others changes.
 */
import { formerPlace, type RouteChanges } from '../changes.ts';

/** Routes in the order of the list, whose ids follow on each other. */
export type Run = { readonly id: number; readonly count: number };

/** All routes, in the order of the list. */
export type Order = readonly Run[];

export function orderOf(count: number): Order {
  return count === 0 ? [] : [{ id: 0, count }];
}

/** Finds the place of a route by its id, which must be in the list. */
export function placesIn(order: Order): (id: number) => number {
  let before = 0;
  const runs = order.map(({ id, count }) => {
    const place = before;
    before += count;
    return { id, place };
  });
  runs.sort((a, b) => a.id - b.id);
  return (id) => {
    let [from, to] = [0, runs.length];
    while (from < to) {
      const middle = (from + to) >>> 1;
      if ((runs[middle]?.id ?? 0) <= id) from = middle + 1;
      else to = middle;
    }
    const run = runs[from - 1];
    return run === undefined ? -1 : run.place + id - run.id;
  };
}

/** The id of the route at a place. */
export function idAt(order: Order, place: number): number {
  let before = 0;
  for (const { id, count } of order) {
    if (place < before + count) return id + place - before;
    before += count;
  }
  return -1;
}

/** A route that replaces another at the same place takes over its id; any other new one gets its own. */
export function changedOrder(order: Order, changes: RouteChanges): Order {
  const { from, to, behind, now } = changes;
  const total = order.reduce((sum, { count }) => sum + count, 0);
  let next = order.reduce((most, { id, count }) => Math.max(most, id + count), 0);
  const isInPlace = to === behind;
  const changed: Run[] = [];
  addAll(changed, order, 0, from);
  for (let place = from; place < behind; place += 1) {
    const former = formerPlace(changes, place);
    const isReplaced = former === -1 && isInPlace && now[place - from] === -1;
    if (former !== -1 || isReplaced) add(changed, idAt(order, isReplaced ? place : former), 1);
    else {
      add(changed, next, 1);
      next += 1;
    }
  }
  addAll(changed, order, to, total);
  return changed;
}

/** The routes between two places. */
function addAll(runs: Run[], order: Order, from: number, to: number): void {
  let before = 0;
  for (const { id, count } of order) {
    const [first, end] = [Math.max(from, before), Math.min(to, before + count)];
    if (first < end) add(runs, id + first - before, end - first);
    before += count;
  }
}

function add(runs: Run[], id: number, count: number): void {
  const last = runs.at(-1);
  if (last && last.id + last.count === id) runs[runs.length - 1] = { ...last, count: last.count + count };
  else runs.push({ id, count });
}
