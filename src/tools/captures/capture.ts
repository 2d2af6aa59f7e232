/** Reads captured traffic in the pcap and pcapng files of tcpdump, tshark and Wireshark. */

/**
 * A frame of one interface. `linkType` is a LINKTYPE_ of tcpdump.org; `time` is in milliseconds since 1970.
 */
export type Frame = { readonly linkType: number; readonly bytes: Buffer; readonly time: number };

/** Reads a capture in chunks of any size; `trouble` says why it cannot continue, if it cannot. */
type CaptureReader = {
  readonly read: (chunk: Buffer) => Frame[];
  /** After the last chunk it also reports an incomplete last frame. */
  readonly trouble: () => string | undefined;
};

/** Whether a file that begins with these bytes (four or more) is a capture. */
export function isCapture(start: Buffer): boolean {
  return start.length >= 4 && (start.readUInt32BE(0) === sectionHeader || layoutOf(start) !== undefined);
}

/** A reader for one capture, which keeps at most one frame in memory. Skips frames of unknown interfaces. */
export function createCaptureReader(): CaptureReader {
  let held: Buffer = Buffer.alloc(0);
  let parse: Parser = readBeginning;
  let damage: string | undefined;
  return {
    read(chunk) {
      if (damage !== undefined) return [];
      held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      const frames: Frame[] = [];
      let at = 0;
      for (;;) {
        const step = parse(held.subarray(at));
        if (step === undefined) break;
        if (typeof step === 'string') {
          damage = step;
          break;
        }
        if (step.frame) frames.push(step.frame);
        parse = step.next ?? parse;
        at += step.length;
      }
      held = Buffer.from(held.subarray(at));
      return frames;
    },
    trouble: () => damage ?? (held.length > 0 ? 'it ends in the middle of a packet' : undefined),
  };
}

/** The result of one step; undefined if it needs more bytes, a text if they are damaged. */
type Step = { readonly length: number; readonly frame?: Frame | undefined; readonly next?: Parser };
type Parser = (bytes: Buffer) => Step | string | undefined;

/** libpcap writes at most 256 KiB of a frame; a pcapng block adds options. */
const maxFrame = 1024 * 1024;

const sectionHeader = 0x0a0d0d0a;

function readBeginning(bytes: Buffer): Step | string | undefined {
  if (bytes.length < 4) return undefined;
  return bytes.readUInt32BE(0) === sectionHeader ? { length: 0, next: pcapng() } : readFileHeader(bytes);
}

// pcap, in the writer's byte order:
// struct { uint32 magic; uint16 major, minor; int32 thiszone; uint32 sigfigs, snaplen, linktype; }
// then, per packet: struct { uint32 seconds, fraction, captured, length; uint8 bytes[captured]; }

type Layout = { readonly little: boolean; readonly fractionsPerMs: number };

function layoutOf(start: Buffer): Layout | undefined {
  for (const little of [false, true]) {
    const magic = little ? start.readUInt32LE(0) : start.readUInt32BE(0);
    if (magic === 0xa1b2c3d4) return { little, fractionsPerMs: 1e3 };
    if (magic === 0xa1b23c4d) return { little, fractionsPerMs: 1e6 };
  }
  return undefined;
}

function readFileHeader(bytes: Buffer): Step | string | undefined {
  if (bytes.length < 24) return undefined;
  const layout = layoutOf(bytes);
  if (layout === undefined) return 'it is no capture';
  // The upper half concerns frame check sequences.
  const linkType = uint32(bytes, 20, layout.little) & 0xffff;
  return { length: 24, next: (rest) => readPacket(rest, linkType, layout) };
}

function readPacket(
  bytes: Buffer,
  linkType: number,
  { little, fractionsPerMs }: Layout,
): Step | string | undefined {
  if (bytes.length < 16) return undefined;
  const captured = uint32(bytes, 8, little);
  if (captured > maxFrame) return `a packet claims to have ${captured} bytes`;
  if (bytes.length < 16 + captured) return undefined;
  const time = uint32(bytes, 0, little) * 1000 + uint32(bytes, 4, little) / fractionsPerMs;
  return { length: 16 + captured, frame: { linkType, bytes: bytes.subarray(16, 16 + captured), time } };
}

// pcapng (draft-ietf-opsawg-pcapng) consists of blocks:
// struct { uint32 type, length; uint8 body[length - 12]; uint32 length; }

const blocks = { interface: 1, oldPacket: 2, simplePacket: 3, packet: 6 } as const;

type Interface = { readonly linkType: number; readonly snapLength: number; readonly unitsPerMs: number };

function pcapng(): Parser {
  let little = false;
  let interfaces: Interface[] = [];
  return (bytes) => {
    if (bytes.length < 12) return undefined;
    const type = uint32(bytes, 0, little);
    // Each section has its own byte order and interfaces.
    if (bytes.readUInt32BE(0) === sectionHeader) {
      little = bytes.readUInt32LE(8) === 0x1a2b3c4d;
      interfaces = [];
    }
    const length = uint32(bytes, 4, little);
    if (length < 12 || length % 4 !== 0 || length > maxFrame) return `a block claims to have ${length} bytes`;
    if (bytes.length < length) return undefined;
    const body = bytes.subarray(8, length - 4);
    if (type === blocks.interface) interfaces.push(readInterface(body, little));
    return { length, frame: readBlock(type, body, interfaces, little) };
  };
}

function readInterface(body: Buffer, little: boolean): Interface {
  // struct { uint16 linktype, reserved; uint32 snaplen; options }
  if (body.length < 8) return { linkType: -1, snapLength: 0, unitsPerMs: 1e3 };
  const linkType = uint16(body, 0, little);
  const snapLength = uint32(body, 4, little) || maxFrame;
  // struct { uint16 code, length; uint8 value[length], padded to 4; } options: 9 is if_tsresol, 0 the end
  for (let at = 8; at + 4 <= body.length; ) {
    const [code, length] = [uint16(body, at, little), uint16(body, at + 2, little)];
    if (code === 0) break;
    const resolution = body[at + 4];
    if (code === 9 && length === 1 && resolution !== undefined) {
      const perSecond = resolution & 0x80 ? 2 ** (resolution & 0x7f) : 10 ** resolution;
      return { linkType, snapLength, unitsPerMs: perSecond / 1000 };
    }
    at += 4 + Math.ceil(length / 4) * 4;
  }
  return { linkType, snapLength, unitsPerMs: 1e3 };
}

function readBlock(
  type: number,
  body: Buffer,
  interfaces: readonly Interface[],
  little: boolean,
): Frame | undefined {
  if (type === blocks.simplePacket) {
    // struct { uint32 length; uint8 bytes[…]; }: of the first interface, without a time
    const [first] = interfaces;
    if (first === undefined || body.length < 4) return undefined;
    const captured = Math.min(uint32(body, 0, little), first.snapLength);
    return { linkType: first.linkType, bytes: body.subarray(4, 4 + captured), time: 0 };
  }
  if ((type !== blocks.packet && type !== blocks.oldPacket) || body.length < 20) return undefined;
  // struct { uint32 interface (in old packets: uint16, and uint16 drops), time high, time low, captured,
  // length;
  //          uint8 bytes[…]; }
  const on = interfaces[type === blocks.packet ? uint32(body, 0, little) : uint16(body, 0, little)];
  if (on === undefined) return undefined;
  const units = uint32(body, 4, little) * 2 ** 32 + uint32(body, 8, little);
  const captured = uint32(body, 12, little);
  return {
    linkType: on.linkType,
    bytes: body.subarray(20, 20 + captured),
    time: units / on.unitsPerMs,
  };
}

function uint16(bytes: Buffer, at: number, little: boolean): number {
  return little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at);
}

function uint32(bytes: Buffer, at: number, little: boolean): number {
  return little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
}
