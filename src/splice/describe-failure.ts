/** Describes how a side failed: its code, its cause, and what may help. */
import { type ConnectionCode, type Side, systemCode } from '../errors.ts';
import { alertIn } from '../openssl/errors.ts';

/** Which side ended it, and with which code; without a code it ended normally. */
export type SpliceEnd = {
  readonly side: Side;
  readonly code?: ConnectionCode;
  readonly error?: string;
  readonly hint?: string | undefined;
};

/**
 * `error` is what the socket or its TLS reported; undefined means that it closed
 * without an end, which is a reset.
 */
export function describeFailure(side: 'client' | 'upstream', error: Error | undefined): SpliceEnd {
  const cause = systemCode(error);
  const who = side === 'client' ? 'the client' : 'the upstream';
  if (isTlsFault(error)) {
    const code = side === 'client' ? 'ERR_CLIENT_TLS' : 'ERR_UPSTREAM_TLS';
    const reason = (error as { reason?: unknown } | undefined)?.reason ?? error?.message;
    return { side, code, error: `TLS with ${who} failed: ${reason} (${cause})`, hint: hintOf(side, cause) };
  }
  const code = side === 'client' ? 'ERR_CLIENT_RESET' : 'ERR_UPSTREAM_RESET';
  return { side, code, error: `${who} reset the connection${cause === '' ? '' : ` (${cause})`}` };
}

/** Whether TLS itself failed, not the socket below it. */
export function isTlsFault(error: Error | undefined): boolean {
  const cause = systemCode(error);
  return cause.startsWith('ERR_SSL_') || cause.startsWith('ERR_TLS_');
}

/** A TLS 1.3 peer judges our certificate only after our handshake is over, so its alert arrives here. */
function hintOf(side: 'client' | 'upstream', cause: string): string | undefined {
  const alert = alertIn(cause);
  if (alert === 'certificate_required')
    return 'it wants a client certificate: set `tls.certificate` of the upstream';
  if (alert === undefined || !/certificate|unknown_ca/.test(alert)) return undefined;
  return side === 'client'
    ? 'it does not trust our certificate'
    : 'it refuses our certificate: see `tls.certificate`';
}
