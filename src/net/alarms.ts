/**
 * One timer for the deadlines and idle times of all connections. A connection sets several, and hardly any
 * goes off: a timer of Node's own for each costs an object and a place in a list. Here each is a place in a
 * heap, with the earliest on top.
 */

/** Something with an alarm, one at a time. */
export type Alarmed = {
  /** When it goes off, by `performance.now()`; Infinity: not set. */
  alarmAt: number;
  /** Its place in the heap. Only this file uses it. */
  alarmPlace: number;
  /** Called at `due` or later, when the alarm is no longer set. Must not throw. */
  onAlarm(due: number): void;
};

/**
 * Sets or moves an alarm to `at` (by `performance.now()`, not Infinity). It does not keep
 * the process alive; sockets do.
 */
export function setAlarm(it: Alarmed, at: number): void {
  if (it.alarmAt === Number.POSITIVE_INFINITY) it.alarmPlace = heap.push(it) - 1;
  it.alarmAt = at;
  rise(it);
  sink(it);
  if (at < wakesAt) wake(at);
}

export function clearAlarm(it: Alarmed): void {
  if (it.alarmAt === Number.POSITIVE_INFINITY) return;
  it.alarmAt = Number.POSITIVE_INFINITY;
  const last = heap.pop() as Alarmed; // there is one: `it`
  if (last === it) return;
  place(last, it.alarmPlace);
  rise(last);
  sink(last);
}

/** A binary heap: the entry at n is due no later than those at 2n + 1 and 2n + 2. */
const heap: Alarmed[] = [];
let timer: NodeJS.Timeout | undefined;
/** When the timer fires; too early if the alarm it was started for has been cleared. */
let wakesAt = Number.POSITIVE_INFINITY;

function wake(at: number): void {
  clearTimeout(timer);
  wakesAt = at;
  timer = setTimeout(ring, Math.min(longest, Math.max(1, at - performance.now()))).unref();
}

/** The longest timer that Node supports, in ms: 24 days. */
const longest = 2 ** 31 - 1;

function ring(): void {
  wakesAt = Number.POSITIVE_INFINITY;
  const now = performance.now();
  for (let first = heap[0]; first !== undefined && first.alarmAt <= now; first = heap[0]) {
    const due = first.alarmAt;
    clearAlarm(first);
    first.onAlarm(due);
  }
  const next = heap[0];
  if (next !== undefined && next.alarmAt < wakesAt) wake(next.alarmAt);
}

function place(it: Alarmed, at: number): void {
  heap[at] = it;
  it.alarmPlace = at;
}

function rise(it: Alarmed): void {
  let at = it.alarmPlace;
  while (at > 0) {
    const above = (at - 1) >> 1;
    const parent = heap[above] as Alarmed; // `above` is less than `at`
    if (parent.alarmAt <= it.alarmAt) break;
    place(parent, at);
    at = above;
  }
  place(it, at);
}

function sink(it: Alarmed): void {
  let at = it.alarmPlace;
  for (;;) {
    const below = earlier(2 * at + 1);
    const child = heap[below];
    if (child === undefined || child.alarmAt >= it.alarmAt) break;
    place(child, at);
    at = below;
  }
  place(it, at);
}

/** Where the earlier of two neighbours stands: the one at `left` or the one to its right. */
function earlier(left: number): number {
  const one = heap[left];
  const other = heap[left + 1];
  return one !== undefined && other !== undefined && other.alarmAt < one.alarmAt ? left + 1 : left;
}
