/** How many connections this process may have open. */

/** Reserved for everything except connections. */
const reserve = 50;

/** Infinity if the system reports no limit. */
export function descriptorsForConnections(): number {
  const { report } = process;
  // Otherwise the report would look up the names of all peers.
  Object.assign(report, { excludeNetwork: true });
  const { userLimits } = report.getReport() as {
    userLimits?: { open_files?: { soft: unknown } };
  };
  const soft = Number(userLimits?.open_files?.soft);
  return Number.isFinite(soft) ? Math.max(1, soft - reserve) : Number.POSITIVE_INFINITY;
}
