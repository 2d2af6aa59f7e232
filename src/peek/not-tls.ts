/**
 * Clients that start with something other than a ClientHello: what it looks like, and what to do about it.
 */
import { ProxyError } from '../errors.ts';

/**
 * ERR_NOT_TLS, from the client's first bytes as far as they have arrived; omit them
 * if the client is only described.
 */
export function notTls(bytes?: Buffer): ProxyError {
  const message = bytes
    ? `${whatItSent(bytes)} (it starts with 0x${bytes.toString('hex', 0, 2)})`
    : speaksNone;
  const hint = bytes && isSsl2(bytes) ? undefined : hintFor(bytes?.toString('latin1', 0, 16) ?? '');
  return new ProxyError('ERR_NOT_TLS', { side: 'client', message, hint });
}

const speaksNone = 'the client does not speak TLS';

function whatItSent(bytes: Buffer): string {
  return isSsl2(bytes) ? 'the client sent an SSLv2 ClientHello' : speaksNone;
}

/** uint16 length with the high bit set, uint8 msg_type = 1 (RFC 6101 appendix E). Never accepted here. */
function isSsl2(bytes: Buffer): boolean {
  return bytes[0]! >= 0x80 && (bytes.length < 3 || bytes[2] === 1); // at least one byte has arrived
}

function hintFor(start: string): string {
  const found = others.find(([starts]) => starts.some((one) => start.startsWith(one)));
  return found?.[1] ?? 'a route with `tls: off` would take a plain client';
}

/** What often arrives in place of TLS, by its first bytes. */
const others: readonly [starts: readonly string[], hint: string][] = [
  [
    ['GET ', 'POST ', 'PUT ', 'HEAD ', 'OPTIONS ', 'CONNECT ', 'PRI '],
    'this is HTTP without TLS: let the client use https',
  ],
  [['PROXY ', '\r\n\r\n\0\r\nQUIT\n'], 'this is a PROXY header: set accept_proxy_protocol on this listener'],
  [
    // SSLRequest and GSSENCRequest.
    ['\0\0\0\x08\x04\xd2\x16\x2f', '\0\0\0\x08\x04\xd2\x16\x30'],
    'a PostgreSQL client asks for TLS: set starttls: postgres on this listener',
  ],
  [['SSH-'], 'this is SSH: a route with `tls: off` would take it'],
];
