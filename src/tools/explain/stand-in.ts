/** A ClientHello for a client of which only some things are known: in everything else it takes whatever it is offered. */
import { randomBytes } from 'node:crypto';
import { createHelloReader, type ReadHello } from '../../peek/client-hello.ts';
import type { AssumedClient } from '../client/assumed-client.ts';

/** The client's own hello, or one that says what is known of it; undefined if no hello can say that (a name too long). */
export function helloOf({ hello, sni, alpn = [], versions = modern }: AssumedClient): ReadHello | undefined {
  if (hello) return hello;
  // struct { ProtocolVersion legacy_version; Random random; opaque session_id<0..32>; CipherSuite cipher_suites<…>;
  //          opaque compression_methods<…>; Extension extensions<…>; } ClientHello;   RFC 8446 §4.1.2
  const body = Buffer.concat([
    uint16s([Math.min(0x0303, Math.max(...versions))]),
    randomBytes(32),
    vector(1, randomBytes(32)),
    vector(2, uint16s(ciphers)),
    vector(1, Buffer.of(0)),
    vector(2, Buffer.concat(extensionsOf(sni, alpn, versions))),
  ]);
  const message = Buffer.concat([Buffer.of(1, 0), uint16s([body.length]), body]);
  return createHelloReader()(recordsOf(message));
}

/** A handshake message as records. */
export function recordsOf(message: Buffer): Buffer {
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += 16_384) {
    records.push(Buffer.of(22, 3, 1), vector(2, message.subarray(at, at + 16_384)));
  }
  return Buffer.concat(records);
}

function extensionsOf(
  sni: string | undefined,
  alpn: readonly string[],
  versions: readonly number[],
): Buffer[] {
  const extension = (type: number, data: Buffer) => Buffer.concat([uint16s([type]), vector(2, data)]);
  const protocols = alpn.map((protocol) => vector(1, Buffer.from(protocol, 'latin1')));
  return [
    ...(sni === undefined
      ? []
      : [extension(0, vector(2, Buffer.concat([Buffer.of(0), vector(2, Buffer.from(sni))])))]),
    ...(protocols.length === 0 ? [] : [extension(16, vector(2, Buffer.concat(protocols)))]),
    extension(10, vector(2, uint16s(groups))),
    // Point format uncompressed (RFC 8422 §5.1.2), extended_master_secret (RFC 7627)
    extension(11, vector(1, Buffer.of(0))),
    extension(23, Buffer.alloc(0)),
    extension(13, vector(2, uint16s(signatureAlgorithms))),
    extension(43, vector(1, uint16s([...versions].sort((a, b) => b - a)))),
    // No key share: whichever group the server picks, it asks for one of it.
    ...(versions.includes(0x0304) ? [extension(51, vector(2, Buffer.alloc(0)))] : []),
  ];
}

const modern = [0x0303, 0x0304];

// What OpenSSL serves with any configuration: suites with forward secrecy, then the others; all groups, all signatures.
const ciphers = [
  0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0x009e, 0x009f, 0xccaa, 0xc023,
  0xc027, 0xc024, 0xc028, 0xc009, 0xc013, 0xc00a, 0xc014, 0x0067, 0x006b, 0x0033, 0x0039, 0x009c, 0x009d,
  0x003c, 0x003d, 0x002f, 0x0035, 0xc0ac, 0xc0ad, 0xc0ae, 0xc0af, 0xc09e, 0xc09f, 0xc09c, 0xc09d, 0x1304,
];
const groups = [0x001d, 0x0017, 0x0018, 0x0019, 0x001e, 0x11ec, 0x11eb, 0x11ed, 0x0100, 0x0101, 0x0102];
const signatureAlgorithms = [
  0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0809, 0x080a, 0x080b, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501,
  0x0601, 0x0904, 0x0905, 0x0906, 0x0203, 0x0201,
];

/** Data behind its own length of one or two bytes. */
function vector(size: 1 | 2, data: Buffer): Buffer {
  const length = Buffer.alloc(size);
  length.writeUIntBE(data.length, 0, size);
  return Buffer.concat([length, data]);
}

function uint16s(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(2 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt16BE(value, 2 * index);
  return bytes;
}
