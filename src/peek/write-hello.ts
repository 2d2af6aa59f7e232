/**
 * Writes a ClientHello (RFC 8446 §4.1.2) that offers exactly what is given, but no key, so that the handshake
 * cannot continue. A TLS 1.3 server then names the group it wants (HelloRetryRequest); an older server
 * answers with its whole flight in the clear.
 */
import { randomBytes } from 'node:crypto';
import { extensionTypes, tls12, tls13 } from '../openssl/registries.ts';

/** What the hello offers, best first, as numbers of the IANA registries. */
export type Offer = {
  readonly versions: readonly number[];
  readonly ciphers: readonly number[];
  readonly groups: readonly number[];
  readonly signatureAlgorithms: readonly number[];
  /** The server name; undefined sends none. */
  readonly name: string | undefined;
  readonly alpn: readonly string[];
};

/** The hello in its records. */
export function writeHello(offer: Offer): Buffer {
  // struct {
  //   ProtocolVersion legacy_version; Random random[32]; opaque legacy_session_id<0..32>;
  //   CipherSuite cipher_suites<2..2^16-2>; opaque legacy_compression_methods<1..2^8-1>;
  //   Extension extensions<0..2^16-1>;
  // } ClientHello;
  const highest = Math.max(...offer.versions);
  const speaks13 = highest >= tls13;
  const body = Buffer.concat([
    uint16(Math.min(highest, tls12)),
    randomBytes(32),
    // A compatible TLS 1.3 client sends one (RFC 8446 appendix D.4). An older server
    // would take it for a session's.
    vector(1, speaks13 ? randomBytes(32) : Buffer.alloc(0)),
    vector(2, uint16s(offer.ciphers)),
    vector(1, Buffer.of(0)),
    vector(2, Buffer.concat(extensionsOf(offer, speaks13))),
  ]);
  return recordsOf(Buffer.concat([Buffer.of(1), vector(3, body)]));
}

/** Splits a handshake message into records. */
export function recordsOf(message: Buffer): Buffer {
  // struct { ContentType type = 22; ProtocolVersion legacy_record_version = 0x0301;
  //          opaque fragment<1..2^14>; }
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += 16_384) {
    records.push(Buffer.of(22, 3, 1), vector(2, message.subarray(at, at + 16_384)));
  }
  return Buffer.concat(records);
}

function extensionsOf(offer: Offer, speaks13: boolean): Buffer[] {
  const { name, alpn, groups, signatureAlgorithms, versions } = offer;
  const protocols = alpn.map((protocol) => vector(1, Buffer.from(protocol, 'latin1')));
  const list = [
    // struct { NameType name_type = host_name(0); opaque HostName<1..2^16-1>; }
    //   server_name_list<1..2^16-1>;   RFC 6066 §3
    name !== undefined &&
      extension('server_name', vector(2, Buffer.concat([Buffer.of(0), vector(2, Buffer.from(name))]))),
    extension('supported_groups', vector(2, uint16s(groups))),
    // Only uncompressed (RFC 8422 §5.1.2).
    extension('ec_point_formats', vector(1, Buffer.of(0))),
    extension('signature_algorithms', vector(2, uint16s(signatureAlgorithms))),
    protocols.length > 0 &&
      extension('application_layer_protocol_negotiation', vector(2, Buffer.concat(protocols))),
    extension('extended_master_secret', Buffer.alloc(0)),
    extension('renegotiation_info', vector(1, Buffer.alloc(0))),
    speaks13 && extension('supported_versions', vector(1, uint16s(versions))),
    // psk_dhe_ke(1)
    speaks13 && extension('psk_key_exchange_modes', vector(1, Buffer.of(1))),
    // No share at all: "clients MAY send an empty client_shares vector in order to
    // request group selection" (§4.2.8).
    speaks13 && extension('key_share', vector(2, Buffer.alloc(0))),
  ];
  return list.filter((one) => one !== false);
}

function extension(name: keyof typeof extensionTypes, data: Buffer): Buffer {
  return Buffer.concat([uint16(extensionTypes[name]), vector(2, data)]);
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
