/** Classifies how a connection failed. */
import { systemCode } from '../../../errors.ts';
import { alertIn, isNotTls } from '../../../openssl/errors.ts';

/** The kind `unfinished` means that the run ended first, which is no error. */
export class Failure extends Error {
  readonly kind: string;
  constructor(kind: string) {
    super(kind);
    this.kind = kind;
  }
}

/**
 * The kind of an error from Node or OpenSSL: `alert_` with the name of a received alert (RFC 8446 §6),
 * `not_tls`, `closed_in_handshake`, or Node's own code.
 */
export function kindOf(error: unknown): string {
  if (error instanceof Failure) return error.kind;
  const code = systemCode(error);
  if (isNotTls(code)) return 'not_tls';
  const alert = alertIn(code);
  if (alert !== undefined) return `alert_${alert}`;
  const message = error instanceof Error ? error.message : String(error);
  // Node uses the same code for this and for a reset.
  if (message.startsWith('Client network socket disconnected')) return 'closed_in_handshake';
  return code || message;
}
