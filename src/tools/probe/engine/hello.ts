/**
 * Writes a ClientHello (RFC 8446 §4.1.2) that asks one question: it offers exactly what is given, and no key, so that the
 * handshake cannot continue. A server of TLS 1.3 then names the group that it wants (HelloRetryRequest), an older one answers
 * with its whole flight in the clear.
 */
import { randomBytes } from 'node:crypto';

/** What the hello offers, by the numbers of IANA's registries, best first. */
export type Offer = {
  readonly versions: readonly number[];
  readonly ciphers: readonly number[];
  readonly groups: readonly number[];
  readonly signatureAlgorithms: readonly number[];
  /** The server name; undefined: none is sent. */
  readonly name: string | undefined;
  readonly alpn: readonly string[];
};

export const tls12 = 0x0303;
export const tls13 = 0x0304;

/** The hello in its one record. */
export function encodeHello(offer: Offer): Buffer {
  // struct { ProtocolVersion legacy_version; Random random[32]; opaque legacy_session_id<0..32>;
  //   CipherSuite cipher_suites<2..2^16-2>; opaque legacy_compression_methods<1..2^8-1>; Extension extensions<0..2^16-1>; }
  const highest = Math.max(...offer.versions);
  const speaks13 = highest >= tls13;
  const body = Buffer.concat([
    uint16(Math.min(highest, tls12)),
    randomBytes(32),
    // Of TLS 1.3 a compatible client has one (RFC 8446 appendix D.4). An older server would take it for a session's.
    vector(1, speaks13 ? randomBytes(32) : Buffer.alloc(0)),
    vector(2, uint16s(offer.ciphers)),
    vector(1, Buffer.of(0)),
    vector(2, Buffer.concat(extensionsOf(offer, speaks13))),
  ]);
  const message = Buffer.concat([Buffer.of(1), vector(3, body)]);
  // struct { ContentType type = 22; ProtocolVersion legacy_record_version = 0x0301; opaque fragment<1..2^14>; }
  return Buffer.concat([Buffer.of(22, 3, 1), vector(2, message)]);
}

function extensionsOf(offer: Offer, speaks13: boolean): Buffer[] {
  const list = [
    // struct { NameType name_type = host_name(0); opaque HostName<1..2^16-1>; } server_name_list<1..2^16-1>   RFC 6066 §3
    offer.name !== undefined &&
      extension(0, vector(2, Buffer.concat([Buffer.of(0), vector(2, Buffer.from(offer.name))]))),
    extension(10, vector(2, uint16s(offer.groups))),
    extension(11, Buffer.of(1, 0)),
    extension(13, vector(2, uint16s(offer.signatureAlgorithms))),
    offer.alpn.length > 0 &&
      extension(
        16,
        vector(2, Buffer.concat(offer.alpn.map((name) => vector(1, Buffer.from(name, 'latin1'))))),
      ),
    extension(23, Buffer.alloc(0)),
    extension(0xff01, Buffer.of(0)),
    speaks13 && extension(43, vector(1, uint16s(offer.versions))),
    speaks13 && extension(45, Buffer.of(1, 1)),
    // No share at all: "clients MAY send an empty client_shares vector in order to request group selection" (§4.2.8).
    speaks13 && extension(51, Buffer.of(0, 0)),
  ];
  return list.filter((one) => one !== false);
}

function extension(type: number, data: Buffer): Buffer {
  return Buffer.concat([uint16(type), vector(2, data)]);
}

function vector(size: 1 | 2 | 3, contents: Buffer): Buffer {
  const length = Buffer.alloc(size);
  length.writeUIntBE(contents.length, 0, size);
  return Buffer.concat([length, contents]);
}

function uint16(value: number): Buffer {
  return Buffer.of(value >> 8, value & 0xff);
}

function uint16s(values: readonly number[]): Buffer {
  return Buffer.concat(values.map(uint16));
}
