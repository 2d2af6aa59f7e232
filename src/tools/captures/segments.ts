/** Extracts TCP segments from captured frames: parses link layer, IP and TCP as far as reassembly needs. */
import { type Address, normalizeAddress } from '../../net/address.ts';
import type { Frame } from './capture.ts';

export type Segment = {
  readonly from: Address;
  readonly to: Address;
  /** The number of the first byte of `payload`, or of the SYN. */
  readonly sequence: number;
  readonly syn: boolean;
  readonly ack: boolean;
  readonly payload: Buffer;
  /** The capture lacks some of its bytes (`tcpdump -s`). */
  readonly isCut: boolean;
};

/** The TCP segment in a frame; undefined if there is none, or only a fragment. */
export function readSegment({ linkType, bytes }: Frame): Segment | undefined {
  const packet = readLink(linkType, bytes);
  const carried = packet && readPacket(packet);
  return carried && readTcp(carried);
}

/**
 * By LINKTYPE_ (tcpdump.org/linktypes.html): where the network layer begins, and where the EtherType is, if
 * any.
 */
const headers: Readonly<Record<number, { readonly length: number; readonly type?: number }>> = {
  0: { length: 4 }, // NULL: BSD's loopback
  1: { length: 14, type: 12 }, // ETHERNET
  12: { length: 0 }, // RAW, as some systems number it
  14: { length: 0 },
  101: { length: 0 }, // RAW
  108: { length: 4 }, // LOOP
  113: { length: 16, type: 14 }, // LINUX_SLL
  228: { length: 0 }, // IPV4
  229: { length: 0 }, // IPV6
  276: { length: 20, type: 0 }, // LINUX_SLL2: `tcpdump -i any`
};

const vlanTags = [0x8100, 0x88a8, 0x9100];
const ipTypes = [0x0800, 0x86dd];

function readLink(linkType: number, bytes: Buffer): Buffer | undefined {
  const header = headers[linkType];
  if (header === undefined || bytes.length < header.length) return undefined;
  if (header.type === undefined) return bytes.subarray(header.length);
  let type = bytes.readUInt16BE(header.type);
  let start = header.length;
  while (vlanTags.includes(type) && bytes.length >= start + 4) {
    type = bytes.readUInt16BE(start + 2);
    start += 4;
  }
  return ipTypes.includes(type) ? bytes.subarray(start) : undefined;
}

/** The payload of an IP packet. `length` is its original length; the capture may have truncated it. */
type Carried = {
  readonly from: string;
  readonly to: string;
  readonly bytes: Buffer;
  readonly length: number;
};

const tcp = 6;

function readPacket(packet: Buffer): Carried | undefined {
  const version = (packet[0] ?? 0) >> 4;
  if (version === 4) return readIpv4(packet);
  return version === 6 ? readIpv6(packet) : undefined;
}

function readIpv4(packet: Buffer): Carried | undefined {
  // RFC 791 §3.1: version and header length, …, total length at 2, fragment at 6, protocol at 9, addresses at
  // 12 and 16
  const start = ((packet[0] ?? 0) & 15) * 4;
  if (start < 20 || packet.length < start || packet[9] !== tcp) return undefined;
  if ((packet.readUInt16BE(6) & 0x3fff) !== 0) return undefined;
  // 0 if the network card was to split it into packets.
  const length = (packet.readUInt16BE(2) || packet.length) - start;
  return {
    from: packet.subarray(12, 16).join('.'),
    to: packet.subarray(16, 20).join('.'),
    bytes: packet.subarray(start, start + length),
    length,
  };
}

/** Extension headers that may precede TCP: hop-by-hop options, routing, destination options (RFC 8200 §4). */
const extensions = [0, 43, 60];

function readIpv6(packet: Buffer): Carried | undefined {
  // RFC 8200 §3: payload length at 4, next header at 6, addresses at 8 and 24
  if (packet.length < 40) return undefined;
  const end = 40 + (packet.readUInt16BE(4) || packet.length - 40);
  let next = packet[6];
  let start = 40;
  while (next !== undefined && extensions.includes(next)) {
    next = packet[start];
    start += ((packet[start + 1] ?? 0) + 1) * 8;
  }
  if (next !== tcp) return undefined;
  return {
    from: ipv6(packet, 8),
    to: ipv6(packet, 24),
    bytes: packet.subarray(start, end),
    length: end - start,
  };
}

function ipv6(packet: Buffer, at: number): string {
  const groups = Array.from({ length: 8 }, (_, index) => packet.readUInt16BE(at + 2 * index).toString(16));
  return normalizeAddress(groups.join(':'));
}

function readTcp({ from, to, bytes, length }: Carried): Segment | undefined {
  // RFC 9293 §3.1: ports at 0 and 2, sequence number at 4, data offset and flags at 12
  if (bytes.length < 20) return undefined;
  const start = ((bytes[12] ?? 0) >> 4) * 4;
  const flags = bytes[13] ?? 0;
  if (start < 20 || start > length) return undefined;
  return {
    from: { address: from, port: bytes.readUInt16BE(0) },
    to: { address: to, port: bytes.readUInt16BE(2) },
    sequence: bytes.readUInt32BE(4),
    syn: (flags & 2) !== 0,
    ack: (flags & 16) !== 0,
    payload: bytes.subarray(start),
    isCut: bytes.length < length,
  };
}
