/**
 * File descriptors left for connections. When they run out, libuv accepts and closes without a word; so they are counted,
 * and the client that would be one too many is refused with a code.
 */
import { readdirSync } from 'node:fs';

/** Each connection may need one towards the client and one towards the upstream. */
const perConnection = 2;
/** Kept for look-ups, logs, certificates read anew, and the sockets of clients that are being refused. */
const reserve = 10;

export type DescriptorBudget = {
  /** Connections that there is room for; Infinity where the system tells no limit. */
  readonly capacity: number;
  open: number;
};

/** To be made once, at start, when only what is always open is open. */
export function createDescriptorBudget(): DescriptorBudget {
  const limit = softLimit();
  const capacity = Math.max(1, Math.floor((limit - openNow() - reserve) / perConnection));
  return { capacity, open: 0 };
}

/** The limit of open files (`ulimit -n`), which Node raises to the hard one at start; Infinity where the system tells none. */
export function softLimit(): number {
  const report = process.report?.getReport() as
    | { userLimits?: { open_files?: { soft: unknown } } }
    | undefined;
  const soft = Number(report?.userLimits?.open_files?.soft);
  return Number.isFinite(soft) ? soft : Number.POSITIVE_INFINITY;
}

function openNow(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return 30; // elsewhere than on Linux: about what Node holds at start
  }
}
