/** How a connection ends. Only this file sets its code, error and hint, and counts it out. */
import { type ConnectionCode, ProxyError, type Side } from '../errors.ts';
import { logClosed } from '../observe/access-log.ts';
import type { SpliceEnd } from '../splice/splice.ts';
import { clearDeadline } from './deadline.ts';
import { turnAway } from './refusals.ts';
import { type Connection, resetClient } from './state.ts';

/** Ends a connection from outside, say because a drain ran out of time or an endpoint went down. */
export function endConnection(
  connection: Connection,
  code: ConnectionCode,
  message: string,
  side: Side = 'proxy',
): void {
  if (connection.splice) {
    connection.splice.end({ side, code, error: message });
    return;
  }
  connection.missed ??= new ProxyError(code, { side, message });
  resetClient(connection);
}

/** Ends a connection that had reached payload. */
export function finish(connection: Connection, { side, code, error, hint }: SpliceEnd): void {
  const { record } = connection;
  record.side = side;
  record.code = code;
  record.error = error;
  record.hint = hint;
  logFirst(connection);
}

/** Ends a connection in which a step threw before payload, and lets the client know why. */
export function fail(connection: Connection, thrown: unknown): void {
  const { record, listener } = connection;
  const error = connection.missed ?? thrown;
  if (error instanceof ProxyError) {
    record.side = error.side;
    record.code = error.code as ConnectionCode; // the other codes are thrown before anything is served
    record.error = error.message;
    record.hint = error.hint;
    logFirst(connection);
  } else {
    record.code = 'ERR_INTERNAL';
    record.error = error instanceof Error ? error.message : String(error);
    listener.logger.error({ conn: record.conn, err: error }, 'internal error: please report it');
  }
  turnAway(connection, error);
}

/** Logs the first failure of each kind that has a hint, even with the access log off. */
function logFirst({ listener, record }: Connection): void {
  const { conn, route, code, error, hint } = record;
  if (hint === undefined) return;
  const key = `${route ?? ''} ${code}`;
  if (listener.told.has(key)) return;
  listener.told.add(key);
  listener.logger.info(
    { conn, listener: listener.name, route, code, error, hint },
    'first failure of its kind',
  );
}

/** Writes its log line, and counts it out once its socket has closed. */
export function close(connection: Connection): void {
  const { raw, listener, record } = connection;
  clearDeadline(connection);
  listener.open.delete(connection);
  record.isProbe = isProbe(connection);
  listener.metrics.closed(record);
  if (raw.closed) leave(connection);
  else raw.once('close', () => leave(connection));
  if (!listener.accessLog.closed) return;
  logClosed(listener.logger, record);
}

function leave({ undo }: Connection): void {
  for (const step of undo) step();
}

/**
 * Whether the client only connected and left, by an end or a reset, as load balancers and monitors do to see
 * whether anything listens. A PROXY header does not count: the load balancer wrote it, not the client.
 */
function isProbe({ raw, record, headerBytes }: Connection): boolean {
  const { code, side, bytes } = record;
  if (raw.bytesRead > headerBytes || bytes.out > 0 || side !== 'client') return false;
  return code === undefined || code === 'ERR_CLIENT_CLOSED' || code === 'ERR_CLIENT_RESET';
}
