/** How a connection ends. Only this file sets its code, error and hint, and counts it out. */
import type { Socket } from 'node:net';
import { type ConnectionCode, ProxyError, type Side } from '../errors.ts';
import { logClosed } from '../observe/access-log.ts';
import { perConnection } from '../process/descriptors.ts';
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
export function finish(connection: Connection, end: SpliceEnd): void {
  const { record, loginFault } = connection;
  const { code, error, hint } = loginFault ?? end;
  record.side = end.side;
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
  connection.gone = undefined;
  listener.open.delete(connection);
  record.isProbe = isProbe(connection);
  listener.metrics.closed(record);
  connection.isOver = true;
  if (raw.closed) leave(connection);
  if (!listener.accessLog.closed) return;
  logClosed(listener.logger, record);
}

/** Listens to the client's socket until it has closed. */
export function watchSocket(connection: Connection): void {
  const raw: Watched = connection.raw;
  raw[watched] = connection;
  // An 'error' that nobody listens for must not end the process. Each step checks the socket itself.
  raw.on('error', ignore);
  raw.on('close', onClose);
}

/**
 * The connection of a socket. With this property all sockets can share their listeners: no closure for each.
 */
const watched = Symbol('connection');
type Watched = Socket & { [watched]?: Connection | undefined };

function onClose(this: Watched): void {
  const connection = this[watched];
  if (connection === undefined) return;
  connection.gone?.abort(connection.missed ?? clientGone());
  if (connection.isOver) leave(connection);
}

function ignore(): void {}

export function clientGone(): ProxyError {
  return new ProxyError('ERR_CLIENT_CLOSED', {
    side: 'client',
    message: 'the client closed the connection before it was established',
  });
}

/** Gives back all that the connection holds, once. */
function leave({ raw, listener, isCounted, dialled, undo }: Connection): void {
  (raw as Watched)[watched] = undefined;
  if (isCounted) listener.descriptors.give(perConnection);
  dialled?.release();
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
