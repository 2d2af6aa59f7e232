/** What can be said of a unix socket before it is bound or dialled. */
import type { Path, Report } from '../finding.ts';

/** sun_path of sockaddr_un holds these and a NUL (unix(7)). Node 20 cuts a longer path, and binds what is left. */
const maxPathBytes = 107;

/** Takes addresses of all kinds, whose paths are absolute by now. */
export function checkSocketPath(address: string, path: Path, report: Report): void {
  if (!address.startsWith('unix:')) return;
  const length = Buffer.byteLength(address.slice('unix:'.length));
  if (length <= maxPathBytes) return;
  const message = `the path of this socket has ${length} bytes, and the system takes ${maxPathBytes} at most`;
  report.fault(path, message, 'choose a shorter one; it counts from the root');
}
