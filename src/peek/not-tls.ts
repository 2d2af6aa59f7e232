/** Clients that begin with something else than a ClientHello: what it looks like, and what to do about it. */
import { ProxyError } from '../errors.ts';

/** ERR_NOT_TLS, by the first bytes of a client as far as they are here; none are known of one that is only described. */
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

/** uint16 length with the high bit set, uint8 msg_type = 1 (RFC 6101 appendix E). Never spoken here. */
function isSsl2(bytes: Buffer): boolean {
  return bytes[0]! >= 0x80 && (bytes.length < 3 || bytes[2] === 1); // there is a byte, or nobody would know
}

function hintFor(start: string): string {
  const found = others.find(([starts]) => starts.some((one) => start.startsWith(one)));
  return found?.[1] ?? 'a route with `tls: off` would take a plain client';
}

/** What often comes where TLS should, by how it may begin. */
const others: readonly [starts: readonly string[], hint: string][] = [
  [
    ['GET ', 'POST ', 'PUT ', 'HEAD ', 'OPTIONS ', 'CONNECT ', 'PRI '],
    'this is HTTP without TLS: the client is to use https',
  ],
  [['PROXY ', '\r\n\r\n\0\r\nQUIT\n'], 'this is a PROXY header: set accept_proxy_protocol on this listener'],
  [
    // SSLRequest and GSSENCRequest.
    ['\0\0\0\x08\x04\xd2\x16\x2f', '\0\0\0\x08\x04\xd2\x16\x30'],
    'a PostgreSQL client asks for TLS: set starttls: postgres on this listener',
  ],
  [['SSH-'], 'this is SSH: a route with `tls: off` would take it'],
];
