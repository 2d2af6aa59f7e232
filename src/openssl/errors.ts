/** What Node's codes for OpenSSL's errors mean, on either side of a handshake. */

/** Whether the peer's answer was not a TLS record. The code depends on its first five bytes. */
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
 * The alert that was received, such as `unknown_ca` (RFC 8446 §6); undefined for other errors. OpenSSL's
 * codes prefix an alert's name with the protocol that first defined it, and most contain ALERT.
 */
export function alertIn(code: string): string | undefined {
  const [, name] = /^ERR_SSL_(?:SSLV3|TLSV1|TLSV13|SSL\/TLS)_(?:ALERT_)?(\w+)$/.exec(code) ?? [];
  return name?.toLowerCase();
}

/** OpenSSL's reason, without the file and line that `message` may have; for any other error its message. */
export function reasonOf(error: Error): string {
  const { reason } = error as { reason?: unknown };
  return typeof reason === 'string' ? reason : error.message;
}
