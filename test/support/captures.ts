/** Captures to test with: packets made field by field, in files of each format. */
import { readFileSync } from 'node:fs';

/** What `tcpdump` wrote; its name without `.pcap`. */
export function capturedTraffic(name: string): Buffer {
  return readFileSync(new URL(`../fixtures/captures/${name}.pcap`, import.meta.url));
}

export type SegmentParts = {
  readonly from?: string;
  readonly fromPort?: number;
  readonly to?: string;
  readonly toPort?: number;
  readonly sequence?: number;
  /** SYN is 2, ACK 16. */
  readonly flags?: number;
  readonly payload?: Buffer;
};

/** An IP packet with a TCP segment in it: IPv6 if `from` is such an address, written in full. */
export function tcpPacket(parts: SegmentParts = {}): Buffer {
  const { from = '10.0.0.5', to = '10.0.0.1' } = parts;
  const segment = tcpSegment(parts);
  if (from.includes(':')) {
    const header = Buffer.alloc(40);
    header[0] = 0x60;
    header.writeUInt16BE(segment.length, 4);
    header[6] = 6;
    for (const [at, address] of [
      [8, from],
      [24, to],
    ] as const) {
      for (const [index, group] of address.split(':').entries()) {
        header.writeUInt16BE(Number.parseInt(group, 16), at + 2 * index);
      }
    }
    return Buffer.concat([header, segment]);
  }
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + segment.length, 2);
  header[9] = 6;
  header.set(from.split('.').map(Number), 12);
  header.set(to.split('.').map(Number), 16);
  return Buffer.concat([header, segment]);
}

function tcpSegment({
  fromPort = 40_000,
  toPort = 5432,
  sequence = 0,
  flags = 16,
  payload = Buffer.alloc(0),
}: SegmentParts): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt16BE(fromPort, 0);
  header.writeUInt16BE(toPort, 2);
  header.writeUInt32BE(sequence >>> 0, 4);
  // One word of options, which is no payload.
  header[12] = 6 << 4;
  header[13] = flags;
  return Buffer.concat([header, payload]);
}

/** In an Ethernet frame, with so many VLAN tags, padded as short frames are. */
export function ethernet(packet: Buffer, vlans = 0): Buffer {
  const tags = Array.from({ length: vlans }, () => Buffer.from([0x81, 0, 0, 7]));
  const type = Buffer.from((packet[0] ?? 0) >> 4 === 6 ? [0x86, 0xdd] : [8, 0]);
  const frame = Buffer.concat([Buffer.alloc(12, 2), ...tags, type, packet]);
  return Buffer.concat([frame, Buffer.alloc(Math.max(0, 60 - frame.length))]);
}

export type CaptureOptions = {
  readonly little?: boolean;
  readonly linkType?: number;
  readonly nanoseconds?: boolean;
  /** No more of each frame is in the file. */
  readonly snapLength?: number;
};

/** When the first frame was captured; each later one came a millisecond after the one before. */
export const firstFrameAt = Date.UTC(2026, 0, 2, 3, 4, 5);

export function pcap(
  frames: readonly Buffer[],
  { little = true, linkType = 1, nanoseconds = false, snapLength = 262_144 }: CaptureOptions = {},
): Buffer {
  const header = words(little, [nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4, 0, 0, 0, snapLength, linkType]);
  const records = frames.flatMap((frame, index) => {
    const at = firstFrameAt + index;
    const bytes = frame.subarray(0, snapLength);
    const fraction = (at % 1000) * (nanoseconds ? 1e6 : 1e3);
    return [words(little, [Math.floor(at / 1000), fraction, bytes.length, frame.length]), bytes];
  });
  return Buffer.concat([header, ...records]);
}

/** With an interface whose clock counts in nanoseconds if asked for, else in the default microseconds. */
export function pcapng(
  frames: readonly Buffer[],
  { little = true, linkType = 1, nanoseconds = false, snapLength = 262_144 }: CaptureOptions = {},
): Buffer {
  const block = (type: number, body: Buffer) => {
    const padded = Buffer.concat([body, Buffer.alloc((4 - (body.length % 4)) % 4)]);
    const length = words(little, [padded.length + 12]);
    return Buffer.concat([words(little, [type]), length, padded, length]);
  };
  const half = (value: number) => {
    const bytes = Buffer.alloc(2);
    if (little) bytes.writeUInt16LE(value);
    else bytes.writeUInt16BE(value);
    return bytes;
  };
  const resolution = nanoseconds
    ? Buffer.concat([half(9), half(1), Buffer.from([9, 0, 0, 0]), half(0), half(0)])
    : Buffer.alloc(0);
  const face = Buffer.concat([half(linkType), half(0), words(little, [snapLength]), resolution]);
  const section = block(0x0a0d0d0a, words(little, [0x1a2b3c4d, 1, 0xffffffff, 0xffffffff]));
  const packets = frames.map((frame, index) => {
    const units = BigInt(firstFrameAt + index) * (nanoseconds ? 1_000_000n : 1000n);
    const times = [Number(units >> 32n), Number(units & 0xffffffffn)];
    const bytes = frame.subarray(0, snapLength);
    return block(6, Buffer.concat([words(little, [0, ...times, bytes.length, frame.length]), bytes]));
  });
  // A block of a type that nobody knows stands between them.
  return Buffer.concat([section, block(1, face), block(0x0bad, Buffer.from('strange')), ...packets]);
}

function words(little: boolean, values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) {
    if (little) bytes.writeUInt32LE(value >>> 0, 4 * index);
    else bytes.writeUInt32BE(value >>> 0, 4 * index);
  }
  return bytes;
}
