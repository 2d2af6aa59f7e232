/** The last words to PostgreSQL clients: SQLSTATE, message and hint. The log has the rest. */
import type { Code, Phase } from '../../errors.ts';
import type { Refusal } from '../protocol.ts';
import { errorResponse } from './preamble.ts';

export function lastWords({ code, phase, conn }: Refusal): Buffer | undefined {
  // A server never answers CancelRequests.
  if (code === 'ERR_CANCEL_REFUSED') return undefined;
  const told = byCode[code] ?? (phase === 'connect' ? unreachable : byPhase[phase]);
  if (told === undefined) return undefined;
  const [state, message, hint] = told;
  return errorResponse(state, `${message} (connection ${conn})`, hint);
}

type SqlError = readonly [state: string, message: string, hint?: string];

/**
 * cannot_connect_now: `pg_isready` reports the server as not ready, and clients
 * with several hosts try the next.
 */
const unreachable: SqlError = ['57P03', 'the server behind this proxy cannot be reached'];
const noRoom: SqlError = ['53300', 'too many connections to the server behind this proxy'];
const byPhase: Partial<Record<Phase, SqlError>> = {
  authorize: ['28000', 'the client certificate is refused'],
  starttls: ['08P01', 'this is not how a PostgreSQL connection starts'],
};
const byCode: Partial<Record<Code, SqlError>> = {
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
