/** How a connection failed, in one word. */
import { systemCode } from '../../../errors.ts';
import { alertIn, isNotTls } from '../../../openssl/errors.ts';

/** `unfinished`: the run ended first, which is nobody's fault. */
export class Failure extends Error {
  readonly kind: string;
  constructor(kind: string) {
    super(kind);
    this.kind = kind;
  }
}

/**
 * The kind of what Node and OpenSSL threw: `alert_` and the name of an alert that came (RFC 8446 §6), `not_tls`,
 * `closed_in_handshake`, or Node's own code.
 */
export function kindOf(error: unknown): string {
  if (error instanceof Failure) return error.kind;
  const code = systemCode(error);
  if (isNotTls(code)) return 'not_tls';
  const alert = alertIn(code);
  if (alert !== undefined) return `alert_${alert}`;
  const message = error instanceof Error ? error.message : String(error);
  // Node has one code for this and for a reset.
  if (message.startsWith('Client network socket disconnected')) return 'closed_in_handshake';
  return code || message;
}
