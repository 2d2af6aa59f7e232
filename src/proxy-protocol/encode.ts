/**
 * Writes the PROXY header, v1 or v2, that says to an upstream who its client is. "The specification" is
 * HAProxy's doc/proxy-protocol.txt.
 *
 * proxy-protocol-js writes the line of v1, and the signature, family and addresses of v2. We write the length
 * and the TLVs, because it does not count TLVs in the length.
 */
import { isIP, isIPv4 } from 'node:net';
import {
  Command,
  INETProtocol,
  IPv4Address,
  IPv4ProxyAddress,
  IPv6Address,
  IPv6ProxyAddress,
  Peer,
  TransportProtocol,
  UnspecProxyAddress,
  V1ProxyProtocol,
  V2ProxyProtocol,
} from 'proxy-protocol-js';
import type { ProxyProtocolOut } from '../config/schema/schema.ts';
import { type Address, normalizeAddress } from '../net/address.ts';
import { crc32c } from './crc32c.ts';

/** What is known about a connection. The header leaves out whatever is unknown. */
export type ProxyFacts = {
  readonly client: Address;
  /** The address that the client reached: from a PROXY header we received, or else ours. */
  readonly local: Address;
  readonly sni?: string | undefined;
  /** The protocol agreed with the client. */
  readonly alpn?: string | undefined;
  /** Absent if we did not terminate the client's TLS. */
  readonly tls?: ProxyTlsFacts | undefined;
  /** At most its first 128 bytes are sent. */
  readonly uniqueId: string;
};

type ProxyTlsFacts = {
  /** By Node's name: `TLSv1.3`. */
  readonly version: string;
  readonly cipher: string;
  /** If true, the certificate, if any, was presented on an earlier connection of the session. */
  readonly resumed?: boolean | undefined;
  /** `verified`: by a chain to an authority. What a pinned certificate says about itself is not. */
  readonly clientCert?: { readonly cn: string | undefined; readonly verified: boolean } | undefined;
};

/**
 * The whole header, to be sent in one write before anything else. If one address is IPv4 and the other IPv6,
 * both become IPv6 (`::ffff:10.0.0.1`); with a unix socket on either end, the header says that the addresses
 * are unknown. Only v2 has TLVs: those of `out.tlvs` that are known, in fixed order, CRC32C last. Omits a
 * certificate's CN of more than 1024 bytes, because cutting it would make it another name.
 */
export function encodeProxyHeader(out: ProxyProtocolOut, facts: ProxyFacts): Buffer {
  const source = normalizeAddress(facts.client.address);
  const destination = normalizeAddress(facts.local.address);
  const family = commonFamily(source, destination);
  const ends = { source, sourcePort: facts.client.port, destination, destinationPort: facts.local.port };
  return out.version === 'v1' ? encodeV1(family, ends) : encodeV2(family, ends, out.tlvs, facts);
}

/**
 * A header for our own connections, such as health checks: the specification's LOCAL (v2), or UNKNOWN (v1).
 */
export function localHeader(version: ProxyProtocolOut['version']): Buffer {
  if (version === 'v1') return Buffer.from('PROXY UNKNOWN\r\n', 'latin1');
  const header = new V2ProxyProtocol(
    Command.LOCAL,
    TransportProtocol.UNSPEC,
    new UnspecProxyAddress(),
  ).build();
  return Buffer.from(header);
}

type Ends = { source: string; sourcePort: number; destination: string; destinationPort: number };

/** 0 means that one of them is not an IP address. */
function commonFamily(source: string, destination: string): 0 | 4 | 6 {
  const [one, other] = [isIP(source), isIP(destination)];
  if (one === 0 || other === 0) return 0;
  return one === 4 && other === 4 ? 4 : 6;
}

function encodeV1(family: 0 | 4 | 6, { source, sourcePort, destination, destinationPort }: Ends): Buffer {
  if (family === 0) return Buffer.from('PROXY UNKNOWN\r\n', 'latin1');
  const text = (address: string) => (family === 6 && isIPv4(address) ? `::ffff:${address}` : address);
  const line = new V1ProxyProtocol(
    family === 4 ? INETProtocol.TCP4 : INETProtocol.TCP6,
    new Peer(text(source), sourcePort),
    new Peer(text(destination), destinationPort),
  ).build();
  return Buffer.from(line, 'latin1');
}

function encodeV2(
  family: 0 | 4 | 6,
  ends: Ends,
  wanted: ProxyProtocolOut['tlvs'],
  facts: ProxyFacts,
): Buffer {
  const transport = family === 0 ? TransportProtocol.UNSPEC : TransportProtocol.STREAM;
  const head = new V2ProxyProtocol(Command.PROXY, transport, proxyAddress(family, ends)).build();
  if (wanted.length === 0) return Buffer.from(head.buffer, head.byteOffset, head.length);
  const parts: Uint8Array[] = [head];
  if (wanted.includes('alpn') && facts.alpn !== undefined) parts.push(tlv(0x01, facts.alpn));
  if (wanted.includes('authority') && facts.sni !== undefined) parts.push(tlv(0x02, facts.sni));
  if (wanted.includes('unique_id')) parts.push(tlv(0x05, Buffer.from(facts.uniqueId).subarray(0, 128)));
  if (wanted.includes('ssl') && facts.tls !== undefined) parts.push(sslTlv(facts.tls));
  if (wanted.includes('crc32c')) parts.push(tlv(0x03, Buffer.alloc(4)));
  const header = Buffer.concat(parts);
  header.writeUInt16BE(header.length - 16, 14);
  // Covers the whole header, with its own field still zero (§2.2.3).
  if (wanted.includes('crc32c')) header.writeUInt32BE(crc32c(header), header.length - 4);
  return header;
}

function proxyAddress(family: 0 | 4 | 6, { source, sourcePort, destination, destinationPort }: Ends) {
  if (family === 0) return new UnspecProxyAddress();
  if (family === 4) {
    const [from, to] = [ipv4Bytes(source), ipv4Bytes(destination)].map(IPv4Address.createFrom);
    return new IPv4ProxyAddress(from!, sourcePort, to!, destinationPort); // two in, two out
  }
  const [from, to] = [ipv6Bytes(source), ipv6Bytes(destination)].map(IPv6Address.createFrom);
  return new IPv6ProxyAddress(from!, sourcePort, to!, destinationPort); // two in, two out
}

function ipv4Bytes(address: string): number[] {
  return address.split('.').map(Number);
}

/** The 16 bytes of a normalized address; an IPv4 one is mapped (`::ffff:0:0/96`). */
function ipv6Bytes(address: string): number[] {
  if (isIPv4(address)) return [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...ipv4Bytes(address)];
  const bytes = new Array<number>(16).fill(0);
  const gap = address.indexOf('::');
  const head = groups(gap === -1 ? address : address.slice(0, gap));
  const tail = groups(gap === -1 ? '' : address.slice(gap + 2));
  let at = 0;
  for (const group of head) at = putGroup(bytes, at, group);
  at = 16 - 2 * tail.length;
  for (const group of tail) at = putGroup(bytes, at, group);
  return bytes;
}

function groups(text: string): string[] {
  return text === '' ? [] : text.split(':');
}

function putGroup(bytes: number[], at: number, group: string): number {
  const value = Number.parseInt(group, 16);
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
  return at + 2;
}

const clientSsl = 0x01;
const clientCertConn = 0x02;
const clientCertSess = 0x04;
const maxCn = 1024;

// struct pp2_tlv_ssl { uint8 client; uint32 verify; struct pp2_tlv sub_tlv[]; }
function sslTlv({ version, cipher, resumed, clientCert }: ProxyTlsFacts): Buffer {
  const head = Buffer.alloc(5);
  head[0] = clientSsl;
  if (clientCert) head[0] |= resumed ? clientCertSess : clientCertConn | clientCertSess;
  // Zero means "presented and verified", so it must not be zero for a client without a certificate either
  // (§2.2.6; HAProxy itself sends zero there). 1 is OpenSSL's X509_V_ERR_UNSPECIFIED.
  head.writeUInt32BE(clientCert?.verified ? 0 : 1, 1);
  const parts = [head, tlv(0x21, version)];
  if (clientCert?.cn !== undefined && Buffer.byteLength(clientCert.cn) <= maxCn) {
    parts.push(tlv(0x22, clientCert.cn));
  }
  parts.push(tlv(0x23, cipher));
  return tlv(0x20, Buffer.concat(parts));
}

// struct pp2_tlv { uint8 type; uint16 length; uint8 value[length]; }
function tlv(type: number, value: string | Buffer): Buffer {
  const length = Buffer.byteLength(value);
  const bytes = Buffer.allocUnsafe(3 + length);
  bytes[0] = type;
  bytes.writeUInt16BE(length, 1);
  if (typeof value === 'string') bytes.write(value, 3);
  else value.copy(bytes, 3);
  return bytes;
}
