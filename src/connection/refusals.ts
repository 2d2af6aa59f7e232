/** What a client is told when it is turned away, in the words of the protocol it speaks by then. */

import { type Code, ProxyError } from '../errors.ts';
import { abort, closeWith, type Stream, tlsAlert } from '../net/stream.ts';
import { errorResponse } from '../protocols/postgres/preamble.ts';
import type { SealedAlert } from '../tls/server/sealed-alert.ts';
import type { Connection } from './state.ts';

/** Ends a connection that was not established, so that the client can read why: an alert, or a PostgreSQL error. */
export function turnAway(connection: Connection, error: unknown): void {
  const { record, raw, stream } = connection;
  const code = error instanceof ProxyError ? error.code : 'ERR_INTERNAL';
  // Before anything was read there is nobody to talk to; a deadline missed has had its reset.
  if (record.phase === 'admit' || record.phase === 'proxy_header' || raw.destroyed) {
    abort(connection.stream ?? { raw: connection.raw });
    return;
  }
  // OpenSSL has had the last word, and TLS closes the socket.
  if (record.phase === 'handshake' && error instanceof ProxyError) return;
  if (stream !== undefined) {
    turnAwayWithinTls(connection, stream, error);
  } else if (record.phase === 'starttls' || connection.speaksPostgres) {
    closeWith(raw, sqlError(connection, code));
  } else if (connection.hello !== undefined || (record.phase === 'peek' && code in alerts)) {
    closeWith(raw, tlsAlert(alerts[code] ?? 'internal_error'));
  } else if (record.phase === 'connect') {
    abort(connection.stream ?? { raw: connection.raw });
  } else {
    closeWith(raw, undefined);
  }
}

function turnAwayWithinTls(connection: Connection, { stream, raw }: Stream, error: unknown): void {
  const { lastAlert, listener } = connection;
  connection.lastAlert = undefined;
  const code = error instanceof ProxyError ? error.code : 'ERR_INTERNAL';
  if (lastAlert === undefined || listener.config.starttls === 'postgres') {
    lastAlert?.forget();
    closeWith(stream, listener.config.starttls === 'postgres' ? sqlError(connection, code) : undefined);
    return;
  }
  const alert = sealedAlertFor(error);
  // We may be in the very call in which OpenSSL ends the handshake: it sends tickets before it returns.
  setImmediate(() => {
    const record = lastAlert.seal(alert);
    if (record) closeWith(raw, record, stream);
    else closeWith(stream, undefined);
  });
}

/** RFC 8446 §6.2. A client is not to look for a fault of its own where the fault is ours. */
function sealedAlertFor(error: unknown): SealedAlert {
  if (!(error instanceof ProxyError)) return 'internal_error';
  const { code, side, alert } = error;
  if (alert === 'bad_certificate') return alert;
  if (side === 'proxy' && code in sealedAlerts) return 'certificate_unknown';
  return sealedAlerts[code] ?? 'internal_error';
}

const sealedAlerts: Partial<Record<Code, SealedAlert>> = {
  ERR_CLIENT_CERT_REQUIRED: 'certificate_required',
  ERR_CLIENT_CERT_UNTRUSTED: 'unknown_ca',
  ERR_CLIENT_CERT_EXPIRED: 'certificate_expired',
  // "… has expired or is not currently valid"
  ERR_CLIENT_CERT_NOT_YET_VALID: 'certificate_expired',
  ERR_CLIENT_CERT_REVOKED: 'certificate_revoked',
  ERR_CLIENT_CERT_PURPOSE: 'unsupported_certificate',
  ERR_CLIENT_CERT_NOT_PINNED: 'certificate_unknown',
  ERR_CLIENT_CERT_NOT_ALLOWED: 'access_denied',
  ERR_CRL_EXPIRED: 'certificate_unknown',
  ERR_AUTHORIZE_DENIED: 'access_denied',
};

const alerts: Partial<Record<Code, Parameters<typeof tlsAlert>[0]>> = {
  ERR_NO_ROUTE: 'unrecognized_name',
  ERR_ROUTE_DENIED: 'access_denied',
  ERR_CLIENT_HELLO_INVALID: 'decode_error',
  ERR_CLIENT_HELLO_TOO_LARGE: 'decode_error',
};

/** SQLSTATE, message and hint for PostgreSQL clients; the log has the rest, under the same `conn`. */
function sqlError({ record }: Connection, code: Code): Buffer | undefined {
  // Servers never answer those.
  if (code === 'ERR_CANCEL_REFUSED') return undefined;
  const told = sqlErrors[code] ?? (record.phase === 'connect' ? unreachable : refused[record.phase]);
  if (told === undefined) return undefined;
  const [state, message, hint] = told;
  return errorResponse(state, `${message} (connection ${record.conn})`, hint);
}

type SqlError = readonly [state: string, message: string, hint?: string];

/** The state in which libpq's `pg_isready` says no, and clients with several hosts try the next (cannot_connect_now). */
const unreachable: SqlError = ['57P03', 'the server behind this proxy cannot be reached'];
const noRoom: SqlError = ['53300', 'too many connections to the server behind this proxy'];
const refused: Partial<Record<string, SqlError>> = {
  authorize: ['28000', 'the client certificate is refused'],
  starttls: ['08P01', 'this is not how a PostgreSQL connection starts'],
};
const sqlErrors: Partial<Record<Code, SqlError>> = {
  ERR_UPSTREAM_LIMIT: noRoom,
  ERR_UPSTREAM_QUEUE_FULL: noRoom,
  ERR_UPSTREAM_QUEUE_TIMEOUT: noRoom,
  ERR_STARTTLS_REQUIRED: [
    '28000',
    'this server takes TLS connections only',
    'Connect with sslmode=require or stronger.',
  ],
  ERR_CLIENT_CERT_REQUIRED: ['28000', 'a client certificate is required', 'Set sslcert and sslkey.'],
  ERR_NO_ROUTE: [
    '28000',
    'no plain-text connections are taken here',
    'Connect with sslmode=require or stronger.',
  ],
};
