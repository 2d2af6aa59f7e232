/**
 * Reads a ClientHello strictly: we must route on exactly what any TLS stack behind
 * us would read (RFC 8446 §4.1.2).
 */
import { isAddressForName } from '../net/address.ts';
import { invalid } from './hello-faults.ts';
import { messageFinder, reassemble } from './hello-records.ts';

/** What a ClientHello says. Numbers are as on the wire, in the client's order, with GREASE (RFC 8701). */
export type ClientHello = {
  /**
   * The server_name (with ECH the outer one): lower case, without a trailing dot, of [a-z0-9._-];
   * may be an IPv4 address. With a colon it is not a name, but an IPv6 address or something with a
   * port (see `isAddressForName`).
   */
  readonly sni: string | undefined;
  /**
   * The protocols offered, preferred first, one character per byte (latin1). [] if the extension is absent.
   */
  readonly alpn: readonly string[];
  readonly legacyVersion: number;
  /** supported_versions, or [] if absent. */
  readonly versions: readonly number[];
  readonly ciphers: readonly number[];
  /** The types of all extensions. */
  readonly extensions: readonly number[];
  /** supported_groups, or [] if absent. */
  readonly groups: readonly number[];
  /** signature_algorithms, or [] if absent. */
  readonly signatureAlgorithms: readonly number[];
  /**
   * The session ticket (RFC 5077 §3.2) and the identities of the first eight pre-shared keys, which usually
   * are tickets. Anything shorter than a ticket key's name, 16 bytes, cannot be a ticket and is left out.
   * They share memory with the message.
   */
  readonly tickets: readonly Buffer[];
  /** Whether encrypted_client_hello is present. Browsers also send meaningless ones (GREASE ECH). */
  readonly hasEch: boolean;
};

/**
 * A complete hello. `message` is the handshake message with its header; it may
 * share memory with the bytes read.
 */
export type ReadHello = { readonly hello: ClientHello; readonly message: Buffer };

/** Limits on extensions and protocols: about ten times what any client has been seen to send. */
const maxExtensions = 200;
const maxProtocols = 200;

/**
 * Makes a reader for one connection. Call it whenever bytes have arrived, with all bytes since the
 * first; it returns undefined until the hello is complete. Its total cost is linear, however slowly
 * bytes arrive and however records are cut. It does not look beyond the hello's last record. Throws
 * as early as it can tell: ERR_NOT_TLS (another protocol, or SSLv2), ERR_CLIENT_HELLO_TOO_LARGE (over
 * 64 KiB), ERR_CLIENT_HELLO_INVALID (violates RFC 8446 §§4.1.2, 4.2, 5.1, RFC 6066 §3 or RFC 7301
 * §3.1), all on the client's side.
 */
export function createHelloReader(): (bytes: Buffer) => ReadHello | undefined {
  const findMessage = messageFinder();
  return (bytes) => {
    const length = findMessage(bytes);
    if (length === undefined) return undefined;
    const message = reassemble(bytes, length);
    return { hello: parseClientHello(message), message };
  };
}

type Draft = { -readonly [Field in keyof ClientHello]: ClientHello[Field] };

function parseClientHello(message: Buffer): ClientHello {
  // struct {
  //   ProtocolVersion legacy_version; Random random[32]; opaque legacy_session_id<0..32>;
  //   CipherSuite cipher_suites<2..2^16-2>; opaque legacy_compression_methods<1..2^8-1>;
  //   Extension extensions<0..2^16-1>;
  // } ClientHello;   after the 4 bytes of the handshake header
  const sessionId = 4 + 2 + 32;
  const sessionIdEnd = vectorEnd(message, sessionId, 1, message.length, 'session_id');
  if (sessionIdEnd - sessionId > 1 + 32) throw invalid('session_id is longer than 32 bytes');
  const ciphersEnd = vectorEnd(message, sessionIdEnd, 2, message.length, 'cipher_suites');
  const compressionsEnd = vectorEnd(message, ciphersEnd, 1, message.length, 'compression_methods');
  if (!message.subarray(ciphersEnd + 1, compressionsEnd).includes(0)) {
    throw invalid('compression_methods lacks the null method');
  }
  const hello: Draft = {
    sni: undefined,
    alpn: [],
    legacyVersion: uint16(message, 4),
    versions: [],
    ciphers: uint16List(message, sessionIdEnd + 2, ciphersEnd, 'cipher_suites'),
    extensions: [],
    groups: [],
    signatureAlgorithms: [],
    tickets: [],
    hasEch: false,
  };
  // Before TLS 1.3 a hello may end here (RFC 5246 §7.4.1.2).
  if (compressionsEnd < message.length) readExtensions(message, compressionsEnd, hello);
  return hello;
}

function readExtensions(message: Buffer, start: number, hello: Draft): void {
  // struct { ExtensionType extension_type; opaque extension_data<0..2^16-1>; } Extension;
  const end = wholeVector(message, start, 2, message.length, 'extensions');
  const types = new Set<number>();
  for (let at = start + 2; at < end; ) {
    if (at + 2 > end) throw invalid('extensions is cut short');
    const type = uint16(message, at);
    if (types.has(type)) throw invalid(`extension ${type} is repeated`);
    if (types.size === maxExtensions) throw invalid(`it has more than ${maxExtensions} extensions`);
    const dataEnd = vectorEnd(message, at + 2, 2, end, `extension ${type}`);
    // Its binders sign everything before them (RFC 8446 §4.2.11).
    if (type === preSharedKey && dataEnd !== end) throw invalid('pre_shared_key is not the last extension');
    readExtension(message, type, at + 4, dataEnd, hello);
    types.add(type);
    at = dataEnd;
  }
  hello.extensions = [...types];
}

const preSharedKey = 41;

/**
 * Parses the extensions that OpenSSL parses and that matter here; leaves all others alone, GREASE included.
 */
function readExtension(message: Buffer, type: number, start: number, end: number, hello: Draft): void {
  switch (type) {
    case 0:
      hello.sni = readServerName(message, start, end);
      return;
    case 10:
      wholeVector(message, start, 2, end, 'supported_groups');
      hello.groups = uint16List(message, start + 2, end, 'supported_groups');
      return;
    case 13:
      wholeVector(message, start, 2, end, 'signature_algorithms');
      hello.signatureAlgorithms = uint16List(message, start + 2, end, 'signature_algorithms');
      return;
    case 16:
      hello.alpn = readProtocols(message, start, end);
      return;
    case 35:
      // opaque ticket<0..2^16-1>: the whole extension (RFC 5077 §3.2); an empty one only asks for a ticket.
      if (start + ticketNameBytes <= end) hello.tickets = [...hello.tickets, message.subarray(start, end)];
      return;
    case preSharedKey:
      hello.tickets = [...hello.tickets, ...readPreSharedKeys(message, start, end)];
      return;
    case 43:
      wholeVector(message, start, 1, end, 'supported_versions');
      hello.versions = uint16List(message, start + 1, end, 'supported_versions');
      return;
    case 0xfe0d:
      hello.hasEch = true;
  }
}

function readServerName(message: Buffer, start: number, end: number): string {
  // struct { NameType name_type = host_name(0); opaque HostName<1..2^16-1>; } ServerName;
  // ServerName server_name_list<1..2^16-1>;
  wholeVector(message, start, 2, end, 'server_name');
  const name = start + 2;
  if (name === end) throw invalid('server_name is empty');
  if (message[name] !== 0) throw invalid(`server_name holds a name of type ${message[name]}`);
  const nameEnd = vectorEnd(message, name + 1, 2, end, 'server_name');
  // TLS stacks differ in which of several names they take, so no choice would be safe.
  if (nameEnd !== end) throw invalid('server_name holds more than one name');
  return readHostName(message, name + 3, nameEnd);
}

const dot = 0x2e;

function readHostName(message: Buffer, start: number, withDotEnd: number): string {
  const end = message[withDotEnd - 1] === dot ? withDotEnd - 1 : withDotEnd;
  if (end <= start) throw invalid('server_name is an empty name');
  if (end - start > 253) throw invalid(`server_name is a name of ${end - start} bytes`);
  let previous = dot;
  for (let at = start; at < end; at++) {
    const byte = message[at]!;
    if (!isNameByte(byte)) {
      const text = message.toString('latin1', start, end).toLowerCase();
      if (isAddressForName(text)) return text;
      throw invalid(`server_name holds the byte 0x${byte.toString(16).padStart(2, '0')}`);
    }
    if (byte === dot && previous === dot) throw invalid('server_name has an empty label');
    previous = byte;
  }
  if (previous === dot) throw invalid('server_name has an empty label');
  return message.toString('latin1', start, end).toLowerCase();
}

/**
 * Letters, digits, dot, hyphen, underscore: no NUL or slash, at which a TLS stack, a
 * log or a path might cut the name.
 */
function isNameByte(byte: number): boolean {
  const lower = byte | 0x20;
  return (
    (lower >= 0x61 && lower <= 0x7a) ||
    (byte >= 0x30 && byte <= 0x39) ||
    byte === dot ||
    byte === 0x2d ||
    byte === 0x5f
  );
}

function readProtocols(message: Buffer, start: number, end: number): string[] {
  // opaque ProtocolName<1..2^8-1>; ProtocolName protocol_name_list<2..2^16-1>;
  wholeVector(message, start, 2, end, 'ALPN');
  if (start + 2 === end) throw invalid('ALPN is empty');
  const protocols: string[] = [];
  for (let at = start + 2; at < end; ) {
    if (protocols.length === maxProtocols) throw invalid(`ALPN holds more than ${maxProtocols} protocols`);
    const nameEnd = vectorEnd(message, at, 1, end, 'ALPN');
    if (nameEnd === at + 1) throw invalid('ALPN holds an empty name');
    protocols.push(message.toString('latin1', at + 1, nameEnd));
    at = nameEnd;
  }
  return protocols;
}

const ticketNameBytes = 16;

function readPreSharedKeys(message: Buffer, start: number, end: number): Buffer[] {
  // struct { opaque identity<1..2^16-1>; uint32 obfuscated_ticket_age; } PskIdentity;
  // opaque PskBinderEntry<32..255>;
  // struct { PskIdentity identities<7..2^16-1>; PskBinderEntry binders<33..2^16-1>; } OfferedPsks;
  // RFC 8446 §4.2.11
  const identitiesEnd = vectorEnd(message, start, 2, end, 'pre_shared_key');
  const tickets: Buffer[] = [];
  let identities = 0;
  for (let at = start + 2; at < identitiesEnd; identities++) {
    const identityEnd = vectorEnd(message, at, 2, identitiesEnd, 'pre_shared_key');
    if (identityEnd === at + 2) throw invalid('pre_shared_key holds an empty identity');
    if (identityEnd + 4 > identitiesEnd) throw invalid('pre_shared_key is cut short');
    if (at + 2 + ticketNameBytes <= identityEnd && identities < 8) {
      tickets.push(message.subarray(at + 2, identityEnd));
    }
    at = identityEnd + 4;
  }
  if (identities === 0) throw invalid('pre_shared_key is empty');
  wholeVector(message, identitiesEnd, 2, end, 'pre_shared_key');
  let binders = 0;
  for (let at = identitiesEnd + 2; at < end; binders++) {
    const binderEnd = vectorEnd(message, at, 1, end, 'pre_shared_key');
    if (binderEnd < at + 1 + 32) throw invalid('pre_shared_key holds a binder of less than 32 bytes');
    at = binderEnd;
  }
  if (binders !== identities) throw invalid(`pre_shared_key has ${binders} binders for ${identities} keys`);
  return tickets;
}

/** Where the vector at `start` ends, which must not be past `end`. Its length field takes `size` bytes. */
function vectorEnd(message: Buffer, start: number, size: 1 | 2, end: number, name: string): number {
  const data = start + size;
  if (data > end) throw invalid(`${name} is cut short`);
  const vector = data + (size === 1 ? message[start]! : uint16(message, start));
  if (vector > end) throw invalid(`${name} is longer than what holds it`);
  return vector;
}

/** The same for a vector that must fill everything up to `end`. */
function wholeVector(message: Buffer, start: number, size: 1 | 2, end: number, name: string): number {
  if (vectorEnd(message, start, size, end, name) !== end) throw invalid(`${name} is followed by stray bytes`);
  return end;
}

function uint16List(message: Buffer, start: number, end: number, name: string): number[] {
  if (start === end) throw invalid(`${name} is empty`);
  if ((end - start) % 2 !== 0) throw invalid(`${name} has an odd length`);
  const values: number[] = [];
  for (let at = start; at < end; at += 2) values.push(uint16(message, at));
  return values;
}

function uint16(bytes: Buffer, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}
