/** How a connection failed, in one word. */
import { systemCode } from '../errors.ts';

/** `unfinished`: the run ended first, which is nobody's fault. */
export class Failure extends Error {
  readonly kind: string;
  constructor(kind: string) {
    super(kind);
    this.kind = kind;
  }
}

/** What OpenSSL says of an answer that is no TLS record; which of them depends on the first five bytes. */
const notTls = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_RECORD_LAYER_FAILURE',
  'ERR_SSL_HTTP_REQUEST',
  'ERR_SSL_UNKNOWN_PROTOCOL',
]);

/**
 * The kind of what Node and OpenSSL threw: `alert_` and the name of an alert that came (RFC 8446 §6), `not_tls`,
 * `closed_in_handshake`, or Node's own code.
 */
export function kindOf(error: unknown): string {
  if (error instanceof Failure) return error.kind;
  const code = systemCode(error);
  if (notTls.has(code)) return 'not_tls';
  // OpenSSL's codes put where the alert was first defined before its name, and most say ALERT.
  const [, alert] = /^ERR_SSL_(?:SSLV3|TLSV1|TLSV13|SSL\/TLS)_(?:ALERT_)?(\w+)$/.exec(code) ?? [];
  if (alert !== undefined) return `alert_${alert.toLowerCase()}`;
  const message = error instanceof Error ? error.message : String(error);
  // Node has one code for this and for a reset.
  if (message.startsWith('Client network socket disconnected')) return 'closed_in_handshake';
  return code || message;
}
