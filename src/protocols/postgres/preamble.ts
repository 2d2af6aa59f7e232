/**
 * What PostgreSQL's protocol has before TLS, on either side of penstock. Pure: bytes in, bytes out.
 * PostgreSQL's documentation, "Frontend/Backend Protocol": "Message Flow" and "Message Formats".
 */
import { ProxyError } from '../../errors.ts';
import { contentTypes } from '../../peek/records.ts';
import { noTls, onlyFor, serverFault } from '../faults.ts';

/**
 * `length` is how many bytes it took: none for `tls` and `startup`, because the next step
 * reads those from their first byte.
 */
export type Preamble =
  | { readonly kind: 'ssl_request' | 'gss_request' | 'tls' | 'startup'; readonly length: number }
  | { readonly kind: 'cancel'; readonly length: number; readonly message: Buffer };

/** Asks the server for TLS. */
export const sslRequest: Buffer = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
/** Answers an SSLRequest: the handshake may start. */
export const acceptSsl: Buffer = Buffer.from('S');
/** Answers a GSSENCRequest or an SSLRequest: not available, ask for something else. */
export const refuse: Buffer = Buffer.from('N');

// Int32 length, itself included; Int32 code: the protocol version, or 1234 in the
// upper half, which is not a version.
const cancelRequestCode = 80877102;
const sslRequestCode = 80877103;
const gssRequestCode = 80877104;
/** The server's own limit, MAX_STARTUP_PACKET_LENGTH. */
const maxStartupLength = 10000;

/**
 * What a client sends first, given all that has arrived so far; undefined if more is needed. Recognizes a
 * StartupMessage by its first 8 bytes, but waits for a complete CancelRequest (`message`, at most 268 bytes).
 * The caller decides whether bytes may follow a request. Throws ERR_STARTTLS_INVALID for anything else.
 */
export function readPreamble(bytes: Buffer): Preamble | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes[0] === contentTypes.handshake) return { kind: 'tls', length: 0 };
  // Valid lengths fit in the lower two bytes, so another protocol shows in its first byte.
  if (bytes[0] !== 0 || (bytes[1] ?? 0) !== 0) throw invalid('the client does not speak PostgreSQL');
  if (bytes.length < 4) return undefined;
  const length = bytes.readUInt32BE(0);
  if (length < 8 || length > maxStartupLength) throw invalid('the first message has an impossible length');
  if (bytes.length < 8) return undefined;
  return readMessage(bytes, length, bytes.readUInt32BE(4));
}

function readMessage(bytes: Buffer, length: number, code: number): Preamble | undefined {
  switch (code) {
    case sslRequestCode:
      if (length !== 8) throw invalid('the SSLRequest is not 8 bytes long');
      return { kind: 'ssl_request', length };
    case gssRequestCode:
      if (length !== 8) throw invalid('the GSSENCRequest is not 8 bytes long');
      return { kind: 'gss_request', length };
    case cancelRequestCode:
      // Int32 process ID, then the key: 4 bytes up to protocol 3.0, 4 to 256 since 3.2.
      if (length < 16 || length > 268)
        throw invalid('the key of the CancelRequest is not 4 to 256 bytes long');
      return bytes.length < length
        ? undefined
        : { kind: 'cancel', length, message: bytes.subarray(0, length) };
    default:
      // Any 3.x: newer libpq asks for minor versions that do not exist, to keep servers honest.
      if (code >>> 16 !== 3 && code !== 0x20000) {
        throw invalid('the client asks for an unknown request or protocol version');
      }
      return { kind: 'startup', length: 0 };
  }
}

/**
 * An ErrorResponse as a server sends it before authentication; close the connection after it. `sqlstate` is
 * from the documentation's appendix "Error Codes". The user sees the texts exactly as given.
 */
export function errorResponse(sqlstate: string, message: string, hint?: string): Buffer {
  // Byte1('E'), Int32 length without the type byte, { Byte1 field, String } …, Byte1(0)
  // S may be translated, V never is: drivers since 9.6 read V.
  const fields =
    field('S', 'FATAL') +
    field('V', 'FATAL') +
    field('C', sqlstate) +
    field('M', message) +
    (hint === undefined ? '' : field('H', hint));
  const body = Buffer.from(`E\0\0\0\0${fields}\0`);
  body.writeUInt32BE(body.length - 1, 1);
  return body;
}

/** A zero byte inside a text would end it, and turn the rest into a field of its own. */
function field(type: string, text: string): string {
  return `${type}${text.replaceAll('\0', '')}\0`;
}

/**
 * A server's answer to our SSLRequest, given all that has arrived since; undefined if nothing has. Throws
 * ERR_UPSTREAM_STARTTLS_REFUSED if it has no TLS, and ERR_UPSTREAM_STARTTLS_INVALID for anything else,
 * including an `S` with bytes after it: somebody in between may have sent those ahead of the handshake, and
 * they would be taken for the server's own (CVE-2021-23222).
 */
export function readSslAnswer(bytes: Buffer): 'accepted' | undefined {
  switch (bytes[0]) {
    case undefined:
      return undefined;
    case 0x53: // 'S'
      if (bytes.length === 1) return 'accepted';
      throw answerInvalid('sent bytes between its "S" and the TLS handshake');
    case 0x4e: // 'N'
      throw answerRefused('the server answered the SSLRequest with "N": it has no TLS');
    case 0x45: // 'E'
      // From a server older than SSLRequest, or one that could not start a process. Its text is
      // unauthenticated, so we pass none of it on (CVE-2024-10977).
      throw answerRefused('the server answered the SSLRequest with an error');
    default:
      throw answerInvalid('answered the SSLRequest with something that is not PostgreSQL');
  }
}

function invalid(message: string): ProxyError {
  return new ProxyError('ERR_STARTTLS_INVALID', {
    side: 'client',
    message,
    hint: onlyFor('postgres'),
  });
}

function answerRefused(message: string): ProxyError {
  return noTls(
    message,
    'turn on ssl in the server, or reach it in plain text by taking tls out of the upstream',
  );
}

const answerInvalid = serverFault(
  'check that the endpoint is a PostgreSQL server, and what is between it and penstock',
);
