/**
 * Reads a server's first flight: what it chose, its certificates, and whether it asks for ours (RFC 5246
 * §7.4, RFC 8446 §4). Pure: bytes in, values out. In TLS 1.3 everything after the ServerHello is encrypted,
 * see `decrypt.ts`.
 */
import { extensionTypes, tls12, tls13 } from '../../../openssl/registries.ts';
import { createCursor, Malformed, readAll } from '../../../peek/cursor.ts';
import {
  contentTypes,
  type Message,
  messageTypes,
  splitMessages,
  splitRecords,
} from '../../../peek/records.ts';
import { readExtensions, readServerHello, type ServerHello } from '../../../peek/server-hello.ts';

/** A server's request for a client certificate; names are DER. */
export type CertificateRequest = { readonly authorities: readonly Buffer[] };

export type Flight = ServerHello & {
  /** DER, as sent. */
  readonly certificates: readonly Buffer[];
  readonly request: CertificateRequest | undefined;
};

export type Answer =
  | ({ readonly kind: 'flight' } & Flight)
  /** An alert's number (RFC 8446 §6). */
  | { readonly kind: 'alert'; readonly alert: number }
  /** The first bytes are not a TLS record. */
  | { readonly kind: 'not_tls' }
  /** It began as TLS, but continued as something else. */
  | { readonly kind: 'malformed'; readonly reason: string };

/** More bytes than any flight needs. */
export const maxFlight = 256 * 1024;

/** The server's answer in all bytes since the hello; undefined if more are needed. */
export function readAnswer(bytes: Buffer): Answer | undefined {
  try {
    return read(bytes);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return { kind: 'malformed', reason: error.message };
  }
}

function read(bytes: Buffer): Answer | undefined {
  const [type, major] = bytes;
  if (type === undefined) return undefined;
  if ((type !== contentTypes.handshake && type !== contentTypes.alert) || (major ?? 3) !== 3) {
    return { kind: 'not_tls' };
  }
  const records = splitRecords(bytes);
  const alert = records.find((record) => record.type === contentTypes.alert);
  const handshake = Buffer.concat(
    records.filter((record) => record.type === contentTypes.handshake).map(({ body }) => body),
  );
  const flight = readFlight(splitMessages(handshake));
  if (flight) return { kind: 'flight', ...flight };
  // struct { AlertLevel level; AlertDescription description; } Alert;
  if (alert?.body.length === 2) return { kind: 'alert', alert: alert.body[1] ?? 0 };
  if (alert) throw new Malformed('an alert of another length than 2');
  if (bytes.length > maxFlight) throw new Malformed('a flight without an end');
  return undefined;
}

function readFlight(messages: readonly Message[]): Flight | undefined {
  const [first] = messages;
  if (!first) return undefined;
  if (first.type !== messageTypes.serverHello) throw new Malformed(`a first message of type ${first.type}`);
  const hello = readServerHello(first.body);
  if (hello.version >= tls13) return { ...hello, certificates: [], request: undefined };
  // Bytes after the end of the flight are not part of it, and may not have arrived yet.
  const end = messages.findIndex(({ type }) => type === messageTypes.serverHelloDone);
  if (end < 0) return undefined;
  const flight = messages.slice(0, end);
  const find = (type: number) => flight.find((message) => message.type === type)?.body;
  const [certificate, exchange, request] = [
    messageTypes.certificate,
    messageTypes.serverKeyExchange,
    messageTypes.certificateRequest,
  ].map(find);
  return {
    ...hello,
    group: exchange && readNamedCurve(exchange),
    certificates: certificate ? readCertificates12(certificate) : [],
    request: request && readRequest12(request, hello.version),
  };
}

// struct { ECCurveType curve_type = named_curve(3); NamedCurve namedcurve; … } (RFC 8422 §5.4)
// With DHE it is a prime instead.
function readNamedCurve(body: Buffer): number | undefined {
  const cursor = createCursor(body);
  return cursor.number(1) === 3 ? cursor.number(2) : undefined;
}

function readCertificates12(body: Buffer): Buffer[] {
  return readAll(createCursor(body).vector(3), (cursor) => cursor.vector(3));
}

function readRequest12(body: Buffer, version: number): CertificateRequest {
  // struct {
  //   ClientCertificateType certificate_types<1..2^8-1>;
  //   SignatureAndHashAlgorithm supported<2..2^16-1>;   since TLS 1.2
  //   DistinguishedName certificate_authorities<0..2^16-1>;
  // } CertificateRequest;
  const cursor = createCursor(body);
  cursor.vector(1);
  if (version >= tls12) cursor.vector(2);
  return { authorities: readAuthorities(cursor.vector(2)) };
}

/**
 * The certificates and request in the decrypted messages of TLS 1.3. Throws Malformed if they violate RFC
 * 8446 §4.3.2 or §4.4.2.
 */
export function readEncrypted(messages: readonly Message[]): Pick<Flight, 'certificates' | 'request'> {
  const find = (type: number) => messages.find((message) => message.type === type)?.body;
  const [certificate, request] = [find(messageTypes.certificate), find(messageTypes.certificateRequest)];
  return {
    certificates: certificate ? readCertificates13(certificate) : [],
    request: request && readRequest13(request),
  };
}

function readCertificates13(body: Buffer): Buffer[] {
  // struct { opaque cert_data<1..2^24-1>; Extension extensions<0..2^16-1>; } CertificateEntry;
  // struct { opaque certificate_request_context<0..2^8-1>; CertificateEntry certificate_list<0..2^24-1>; }
  //   Certificate;
  const cursor = createCursor(body);
  cursor.vector(1);
  return readAll(cursor.vector(3), (entry) => {
    const certificate = entry.vector(3);
    entry.vector(2);
    return certificate;
  });
}

function readRequest13(body: Buffer): CertificateRequest {
  // struct { opaque certificate_request_context<0..2^8-1>; Extension extensions<2..2^16-1>; }
  //   CertificateRequest;
  const cursor = createCursor(body);
  cursor.vector(1);
  const authorities = readExtensions(cursor.vector(2)).get(extensionTypes.certificate_authorities);
  return { authorities: authorities ? readAuthorities(createCursor(authorities).vector(2)) : [] };
}

function readAuthorities(bytes: Buffer): Buffer[] {
  return readAll(bytes, (cursor) => cursor.vector(2));
}
