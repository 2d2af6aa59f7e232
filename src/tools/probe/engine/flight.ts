/**
 * Reads a server's first flight: what it chose, its certificates, and whether it asks for ours (RFC 5246 §7.4, RFC 8446
 * §4). Pure: bytes in, values out. Of TLS 1.3 all behind the ServerHello is encrypted, see `decrypt.ts`.
 */
import { createHash } from 'node:crypto';
import { createCursor, Malformed, readAll } from './cursor.ts';

/** What a server says of client certificates; names are DER. */
export type CertificateRequest = { readonly authorities: readonly Buffer[] };

export type Flight = {
  readonly version: number;
  readonly cipher: number;
  /** The key-exchange group; undefined of static RSA and finite fields of TLS 1.2. */
  readonly group: number | undefined;
  /** In TLS 1.3 it is encrypted. */
  readonly alpn: string | undefined;
  /** DER, as they were sent. */
  readonly certificates: readonly Buffer[];
  readonly request: CertificateRequest | undefined;
};

export type Answer =
  | ({ readonly kind: 'flight' } & Flight)
  /** An alert's number (RFC 8446 §6). */
  | { readonly kind: 'alert'; readonly alert: number }
  /** The first bytes are no TLS record. */
  | { readonly kind: 'not_tls' }
  /** It began as TLS, and went on as something else. */
  | { readonly kind: 'malformed'; readonly reason: string };

/** More bytes than any flight takes. */
export const maxFlight = 256 * 1024;

/** What the server answered, given all that has arrived since the hello; undefined: more is needed. */
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

/** A whole record; `header` is what AEADs authenticate. */
export type TlsRecord = { readonly type: number; readonly header: Buffer; readonly body: Buffer };

export const contentTypes = { alert: 21, handshake: 22, applicationData: 23 } as const;

/** The whole records at the beginning of the bytes. */
export function splitRecords(bytes: Buffer): TlsRecord[] {
  // struct { ContentType type; ProtocolVersion legacy_record_version = 3.x; opaque fragment<0..2^14+2048>; }
  const records: TlsRecord[] = [];
  for (let at = 0; at + 5 <= bytes.length; ) {
    const end = at + 5 + bytes.readUInt16BE(at + 3);
    if (bytes[at + 1] !== 3) throw new Malformed(`a record of version ${bytes[at + 1]}.x`);
    if (end - at - 5 > 16_384 + 2048) throw new Malformed(`a record of ${end - at - 5} bytes`);
    if (end > bytes.length) break;
    records.push({
      type: bytes[at] ?? 0,
      header: bytes.subarray(at, at + 5),
      body: bytes.subarray(at + 5, end),
    });
    at = end;
  }
  return records;
}

export type Message = { readonly type: number; readonly body: Buffer };

/** The whole handshake messages at the beginning of the bytes. */
export function splitMessages(bytes: Buffer): Message[] {
  // struct { HandshakeType msg_type; uint24 length; … } Handshake;
  const messages: Message[] = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const end = at + 4 + bytes.readUIntBE(at + 1, 3);
    if (end > bytes.length) break;
    messages.push({ type: bytes[at] ?? 0, body: bytes.subarray(at + 4, end) });
    at = end;
  }
  return messages;
}

const types = {
  serverHello: 2,
  encryptedExtensions: 8,
  certificate: 11,
  serverKeyExchange: 12,
  certificateRequest: 13,
  serverHelloDone: 14,
} as const;

function readFlight(messages: readonly Message[]): Flight | undefined {
  const [first] = messages;
  if (!first) return undefined;
  if (first.type !== types.serverHello) throw new Malformed(`a first message of type ${first.type}`);
  const hello = readServerHello(first.body);
  if (hello.version >= 0x0304) return { ...hello, certificates: [], request: undefined };
  // What comes behind the end of the flight is no part of it, nor need it have come yet.
  const end = messages.findIndex(({ type }) => type === types.serverHelloDone);
  if (end < 0) return undefined;
  const flight = messages.slice(0, end);
  const find = (type: number) => flight.find((message) => message.type === type)?.body;
  const [certificate, exchange, request] = [
    types.certificate,
    types.serverKeyExchange,
    types.certificateRequest,
  ].map(find);
  return {
    ...hello,
    group: exchange && readNamedCurve(exchange),
    certificates: certificate ? readCertificates12(certificate) : [],
    request: request && readRequest12(request, hello.version),
  };
}

function readServerHello(body: Buffer): Pick<Flight, 'version' | 'cipher' | 'group' | 'alpn'> {
  // struct { ProtocolVersion legacy_version; Random random[32]; opaque legacy_session_id_echo<0..32>;
  //   CipherSuite cipher_suite; uint8 legacy_compression_method = 0; Extension extensions<6..2^16-1>; } ServerHello;
  const cursor = createCursor(body);
  const legacy = cursor.number(2);
  const isRetry = cursor.take(32).equals(retryRandom);
  cursor.vector(1);
  const cipher = cursor.number(2);
  cursor.number(1);
  const extensions = cursor.left() > 0 ? readExtensions(cursor.vector(2)) : new Map<number, Buffer>();
  const [versions, share, alpn] = [43, 51, 16].map((type) => extensions.get(type));
  const version = versions ? createCursor(versions).number(2) : legacy;
  if (isRetry && !share) throw new Malformed('a HelloRetryRequest that asks for no group');
  return {
    version,
    cipher,
    // In a retry it is the group alone, otherwise a share begins with it (§4.2.8).
    group: share && createCursor(share).number(2),
    alpn: alpn && readProtocol(alpn),
  };
}

/** RFC 8446 §4.1.3: the random by which a ServerHello is a HelloRetryRequest. */
const retryRandom = createHash('sha256').update('HelloRetryRequest').digest();

function readExtensions(bytes: Buffer): Map<number, Buffer> {
  return new Map(readAll(bytes, (cursor) => [cursor.number(2), cursor.vector(2)] as const));
}

function readProtocol(bytes: Buffer): string {
  return createCursor(createCursor(bytes).vector(2)).vector(1).toString('latin1');
}

/** struct { ECCurveType curve_type = named_curve(3); NamedCurve namedcurve; … } (RFC 8422 §5.4); of DHE, a prime instead. */
function readNamedCurve(body: Buffer): number | undefined {
  const cursor = createCursor(body);
  return cursor.number(1) === 3 ? cursor.number(2) : undefined;
}

function readCertificates12(body: Buffer): Buffer[] {
  return readAll(createCursor(body).vector(3), (cursor) => cursor.vector(3));
}

function readRequest12(body: Buffer, version: number): CertificateRequest {
  // struct { ClientCertificateType certificate_types<1..2^8-1>; SignatureAndHashAlgorithm supported<2..2^16-1>; (TLS 1.2)
  //   DistinguishedName certificate_authorities<0..2^16-1>; } CertificateRequest;
  const cursor = createCursor(body);
  cursor.vector(1);
  if (version >= 0x0303) cursor.vector(2);
  return { authorities: readAuthorities(cursor.vector(2)) };
}

/**
 * Certificates and request among the decrypted messages of TLS 1.3. Throws Malformed if they are not what RFC 8446 §4.3.2
 * and §4.4.2 say.
 */
export function readEncrypted(messages: readonly Message[]): Pick<Flight, 'certificates' | 'request'> {
  const find = (type: number) => messages.find((message) => message.type === type)?.body;
  const [certificate, request] = [find(types.certificate), find(types.certificateRequest)];
  return {
    certificates: certificate ? readCertificates13(certificate) : [],
    request: request && readRequest13(request),
  };
}

function readCertificates13(body: Buffer): Buffer[] {
  // struct { opaque cert_data<1..2^24-1>; Extension extensions<0..2^16-1>; } CertificateEntry;
  // struct { opaque certificate_request_context<0..2^8-1>; CertificateEntry certificate_list<0..2^24-1>; } Certificate;
  const cursor = createCursor(body);
  cursor.vector(1);
  return readAll(cursor.vector(3), (entry) => {
    const certificate = entry.vector(3);
    entry.vector(2);
    return certificate;
  });
}

function readRequest13(body: Buffer): CertificateRequest {
  // struct { opaque certificate_request_context<0..2^8-1>; Extension extensions<2..2^16-1>; } CertificateRequest;
  const cursor = createCursor(body);
  cursor.vector(1);
  const authorities = readExtensions(cursor.vector(2)).get(47);
  return { authorities: authorities ? readAuthorities(createCursor(authorities).vector(2)) : [] };
}

function readAuthorities(bytes: Buffer): Buffer[] {
  return readAll(bytes, (cursor) => cursor.vector(2));
}
