/**
 * Counts file descriptors available for connections. When they run out, libuv accepts and closes silently. So
 * everything that connections make a process open is counted here, and a client beyond the limit is refused
 * with a code.
 */
import { readdirSync } from 'node:fs';
import { orElse } from './or-else.ts';

/** One towards the client, and one reserved for its upstream. */
export const perConnection = 2;
/**
 * Reserved for look-ups (four at a time), logs, reloaded certificates, and sockets of clients being refused.
 */
const reserve = 10;

export type Descriptors = {
  /** How many may be counted in; Infinity if the system reports no limit. */
  readonly capacity: number;
  readonly used: () => number;
  /** Counts this many in; returns false and counts none if there is no room for all. */
  readonly take: (count: number) => boolean;
  /**
   * Counts in one more socket of a dial or a check. The last quarter is reserved for connections, so that one
   * cause cannot use up everything.
   */
  readonly takeSpare: () => boolean;
  /** Counts in what is already open. */
  readonly claim: (count: number) => void;
  /** Counts out. */
  readonly give: (count: number) => void;
};

/**
 * Must be created once, at start, when nothing but the permanent descriptors is open, unless `capacity` is
 * given.
 */
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

/** For callers that need no counting. */
export const unbounded: Descriptors = createDescriptors(Number.POSITIVE_INFINITY);

function room(): number {
  return Math.max(perConnection, softLimit() - openNow() - reserve);
}

/**
 * The limit of open files (`ulimit -n`), which Node raises to the hard limit at start; Infinity if the system
 * reports none.
 */
export function softLimit(): number {
  const { report } = process;
  // Otherwise the report would look up the names of all peers.
  if (report) Object.assign(report, { excludeNetwork: true });
  const found = report?.getReport() as { userLimits?: { open_files?: { soft: unknown } } } | undefined;
  const soft = Number(found?.userLimits?.open_files?.soft);
  return Number.isFinite(soft) ? soft : Number.POSITIVE_INFINITY;
}

/** Except on Linux, an estimate of what Node has open at start. */
function openNow(): number {
  return orElse(30, () => readdirSync('/proc/self/fd').length);
}
