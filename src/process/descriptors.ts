/**
 * File descriptors left for connections. When they run out, libuv accepts and closes without a word; so all that connections
 * make a process open is counted here, and the client that would be one too many is refused with a code.
 */
import { readdirSync } from 'node:fs';
import { orElse } from './or-else.ts';

/** One towards the client, and one that is kept for it towards the upstream. */
export const perConnection = 2;
/** Kept for look-ups (four at a time), logs, certificates read anew, and the sockets of clients that are being refused. */
const reserve = 10;

export type Descriptors = {
  /** How many may be counted in; Infinity where the system tells no limit. */
  readonly capacity: number;
  readonly used: () => number;
  /** Counts so many in; false, and none, where there is no room for all of them. */
  readonly take: (count: number) => boolean;
  /** Counts in one more socket of a dial or a check. The last quarter is for connections: one cause must not take them all. */
  readonly takeSpare: () => boolean;
  /** Counts in what is open in any case. */
  readonly claim: (count: number) => void;
  /** Counts out. */
  readonly give: (count: number) => void;
};

/** To be made once, at start, when only what is always open is open; unless `capacity` is known. */
export function createDescriptors(capacity = room()): Descriptors {
  let used = 0;
  const takeUpTo = (most: number, count: number) => {
    if (used + count > most) return false;
    used += count;
    return true;
  };
  return {
    capacity,
    used: () => used,
    take: (count) => takeUpTo(capacity, count),
    takeSpare: () => takeUpTo(Math.floor(capacity * 0.75), 1),
    claim(count) {
      used += count;
    },
    give(count) {
      used -= count;
    },
  };
}

/** For whoever need not count. */
export const unbounded: Descriptors = createDescriptors(Number.POSITIVE_INFINITY);

function room(): number {
  return Math.max(perConnection, softLimit() - openNow() - reserve);
}

/** The limit of open files (`ulimit -n`), which Node raises to the hard one at start; Infinity where the system tells none. */
export function softLimit(): number {
  const report = process.report?.getReport() as
    | { userLimits?: { open_files?: { soft: unknown } } }
    | undefined;
  const soft = Number(report?.userLimits?.open_files?.soft);
  return Number.isFinite(soft) ? soft : Number.POSITIVE_INFINITY;
}

/** Elsewhere than on Linux, about what Node holds at start. */
function openNow(): number {
  return orElse(30, () => readdirSync('/proc/self/fd').length);
}
