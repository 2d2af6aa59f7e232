/** How many connections a process may have open. */

/** For what is open besides connections. */
const reserve = 50;

/** Infinity where the system tells no limit. */
export function descriptorsForConnections(): number {
  const { report } = process;
  // Otherwise it would look up the names of all peers.
  Object.assign(report, { excludeNetwork: true });
  const { userLimits } = report.getReport() as {
    userLimits?: { open_files?: { soft: unknown } };
  };
  const soft = Number(userLimits?.open_files?.soft);
  return Number.isFinite(soft) ? Math.max(1, soft - reserve) : Number.POSITIVE_INFINITY;
}
