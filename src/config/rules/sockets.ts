/** Checks the path of a unix socket before it is bound or dialled. */
import type { Path, Report } from '../finding.ts';

/**
 * sun_path of sockaddr_un holds this many and a NUL (unix(7)). Node 20 truncates a longer path, and binds the
 * rest.
 */
const maxPathBytes = 107;

/** Takes any kind of address; paths are already absolute. */
export function checkSocketPath(address: string, path: Path, report: Report): void {
  if (!address.startsWith('unix:')) return;
  const length = Buffer.byteLength(address.slice('unix:'.length));
  if (length <= maxPathBytes) return;
  const message = `the path of this socket has ${length} bytes, and the system allows at most ${maxPathBytes}`;
  report.fault(path, message, 'choose a shorter one; it counts from the root');
}
