/** The answers of a running penstock, for people. */
import type { ReloadResult } from '../../observe/admin-source.ts';
import type { Session, SessionsFound } from '../../observe/sessions.ts';
import { bytes, count, span } from '../../observe/units.ts';
import { formatTable } from '../terminal/table.ts';

const header = ['CONN', 'LISTENER', 'ROUTE', 'CLIENT', 'NAME', 'IDENTITY', 'ENDPOINT', 'FOR', 'IN', 'OUT'];

/** A table of sessions, and how many there are. `columns` is the width of the terminal, if it is one. */
export function sessionsTable({ total, sessions }: SessionsFound, columns = 160): string {
  const table = formatTable(header, sessions.map(row), ['CONN', 'CLIENT'], columns);
  const shown = total > sessions.length ? `; the first ${count(sessions.length)} are listed` : '';
  return `${table}${count(total)} open${shown}\n`;
}

function row(session: Session): string[] {
  const { conn, listener, route = '-', client, sni = '-', client_cert: certificate } = session;
  const { endpoint, phase, started_at, bytes_in, bytes_out } = session;
  return [
    conn,
    listener,
    String(route),
    client,
    sni,
    certificate?.subject ?? certificate?.spki ?? '-',
    // Whoever is not connected yet is somewhere on the way.
    endpoint ?? `(${phase})`,
    span(Date.now() - Date.parse(started_at)),
    bytes(bytes_in),
    bytes(bytes_out),
  ];
}

/** What is served from now on. */
export function describeReload({ file, warnings = [] }: ReloadResult): string {
  const what = file === undefined ? 'reloaded' : `reloaded ${file}`;
  const { length } = warnings;
  return `${what}${length === 0 ? '' : `, with ${count(length)} warning${length === 1 ? '' : 's'}`}\n`;
}

/** What has become of an upstream or endpoint, and what that means for clients. */
export function describeDrain(
  place: string,
  result: Readonly<Record<string, unknown>>,
  isDrained: boolean,
): string {
  const { open, serving } = result as { open: number; serving: readonly string[] };
  const [upstream] = place.split('/');
  if (!isDrained) return `${place} takes connections again\n`;
  const left = open === 0 ? 'none is open' : `${count(open)} stay open until they end`;
  const rest =
    serving.length > 0
      ? `new ones go to ${serving.join(', ')}`
      : `nothing serves ${upstream} now: its clients are refused (ERR_UPSTREAM_DOWN)`;
  return `${place} takes no new connections; ${left}; ${rest}\n`;
}
