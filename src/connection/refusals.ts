/** The last words to a client that is turned away, in whatever protocol it speaks by then. */

import { type Code, ProxyError } from '../errors.ts';
import { closeWith, type Stream, tlsAlert } from '../net/stream.ts';
import type { SealedAlert } from '../tls/server/sealed-alert.ts';
import { type Connection, resetClient } from './state.ts';

/** Ends an unestablished connection so that the client can read why: by an alert, or in its protocol. */
export function turnAway(connection: Connection, error: unknown): void {
  const { record, raw, stream, opening, meeting } = connection;
  const { wrap = asItIs } = meeting?.carrier ?? {};
  const code = error instanceof ProxyError ? error.code : 'ERR_INTERNAL';
  // Before we have read anything, nobody is listening; and a missed deadline has already reset the socket.
  if (record.phase === 'admit' || record.phase === 'proxy_header' || raw.destroyed) {
    resetClient(connection);
    return;
  }
  // OpenSSL has already sent its alert, and TLS closes the socket.
  if (record.phase === 'handshake' && error instanceof ProxyError) return;
  if (stream !== undefined) {
    turnAwayWithinTls(connection, stream, error);
  } else if (record.phase === 'starttls' || (opening === 'plain' && meeting)) {
    closeWith(raw, lastWords(connection, code));
  } else if (record.ja4 !== undefined || (record.phase === 'peek' && code in alerts)) {
    closeWith(raw, wrap(tlsAlert(alerts[code] ?? 'internal_error')));
  } else if (record.phase === 'connect') {
    resetClient(connection);
  } else {
    closeWith(raw, undefined);
  }
}

function asItIs(alert: Buffer): Buffer {
  return alert;
}

function turnAwayWithinTls(connection: Connection, { stream, raw }: Stream, error: unknown): void {
  const { lastAlert } = connection;
  connection.lastAlert = undefined;
  const words = lastWords(connection, error instanceof ProxyError ? error.code : 'ERR_INTERNAL');
  if (lastAlert === undefined || words !== undefined) {
    lastAlert?.forget();
    closeWith(stream, words);
    return;
  }
  const alert = sealedAlertFor(error);
  // We may be inside the call that ends the handshake, and OpenSSL sends tickets before it returns.
  setImmediate(() => {
    const record = lastAlert.seal(alert);
    if (record) closeWith(raw, record, stream);
    else closeWith(stream, undefined);
  });
}

function lastWords({ meeting, record }: Connection, code: Code): Buffer | undefined {
  return meeting?.refuse({ code, phase: record.phase, conn: record.conn });
}

/** RFC 8446 §6.2. When the fault is ours, the client must not go looking for one of its own. */
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
  // by its definition, "… has expired or is not currently valid"
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
  ERR_CLUSTER_HELD: 'access_denied',
  ERR_CLIENT_HELLO_INVALID: 'decode_error',
  ERR_CLIENT_HELLO_TOO_LARGE: 'decode_error',
};
