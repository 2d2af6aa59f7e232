/** What the codes mean that Node makes of OpenSSL's errors, whichever side of a handshake we were on. */

/** Whether an answer was no TLS record; which code says so depends on its first five bytes. */
export function isNotTls(code: string): boolean {
  return notTls.has(code);
}

const notTls = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_RECORD_LAYER_FAILURE',
  'ERR_SSL_HTTP_REQUEST',
  'ERR_SSL_UNKNOWN_PROTOCOL',
]);

/**
 * The alert that was received, as `unknown_ca` (RFC 8446 §6), or undefined if it was another error. OpenSSL's codes put where
 * an alert was first defined before its name, and most say ALERT.
 */
export function alertIn(code: string): string | undefined {
  const [, name] = /^ERR_SSL_(?:SSLV3|TLSV1|TLSV13|SSL\/TLS)_(?:ALERT_)?(\w+)$/.exec(code) ?? [];
  return name?.toLowerCase();
}

/** What OpenSSL says went wrong, without the file and line that `message` may have; the message of any other error. */
export function reasonOf(error: Error): string {
  const { reason } = error as { reason?: unknown };
  return typeof reason === 'string' ? reason : error.message;
}
