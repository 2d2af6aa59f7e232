/** The packets of TDS (MS-TDS §2.2.3), and the one answer of ours to a login. Pure: bytes in, bytes out. */

/** No side sends a larger one before it has logged in. */
export const maxPacket = 4096;

/** `length` is that of the whole packet. */
export type Packet = {
  readonly type: number;
  readonly isLast: boolean;
  readonly payload: Buffer;
  readonly length: number;
};

export const types = { answer: 0x04, login: 0x10, prelogin: 0x12 } as const;

/** Makes an error of what a side did: "sends a packet of more than 4096 bytes". */
export type Fault = (what: string) => Error;

// BYTE Type; BYTE Status (1: the last of its message); USHORT Length; USHORT SPID; BYTE PacketID; BYTE Window
export const headerLength = 8;

/**
 * The first packet, given all that has arrived; undefined if more is needed. Throws what `fault` returns as
 * soon as it cannot become one of these types, and of at most `maxPacket` bytes.
 */
export function readPacket(bytes: Buffer, expected: readonly number[], fault: Fault): Packet | undefined {
  const [type] = bytes;
  if (type === undefined) return undefined;
  if (!expected.includes(type)) throw fault('does not speak TDS');
  if (bytes.length < headerLength) return undefined;
  const length = bytes.readUInt16BE(2);
  if (length > maxPacket) throw fault(`sends a packet of more than ${maxPacket} bytes`);
  // An empty one would be of no use, and any number of them no message.
  if (length <= headerLength) throw fault('sends an empty packet');
  if (bytes.length < length) return undefined;
  return {
    type,
    isLast: (bytes.readUInt8(1) & 1) === 1,
    payload: bytes.subarray(headerLength, length),
    length,
  };
}

/** As many packets as the payload needs. */
export function encodePackets(type: number, payload: Buffer): Buffer {
  const packets: Buffer[] = [];
  for (let at = 0; at < payload.length; at += maxPacket - headerLength) {
    const part = payload.subarray(at, at + maxPacket - headerLength);
    const isLast = at + part.length === payload.length;
    const length = headerLength + part.length;
    packets.push(
      Buffer.from([type, isLast ? 1 : 0, length >>> 8, length & 0xff, 0, 0, packets.length + 1, 0]),
      part,
    );
  }
  return Buffer.concat(packets);
}

/** An answer to a login: an error, with which it is over. */
export function encodeError(number: number, text: string): Buffer {
  // BYTE 0xaa; USHORT Length; LONG Number; BYTE State; BYTE Class; US_VARCHAR MsgText; B_VARCHAR ServerName;
  // B_VARCHAR ProcName; LONG LineNumber
  const said = Buffer.from(text, 'utf16le');
  const error = Buffer.alloc(3 + 6 + 2 + said.length + 1 + 1 + 4);
  error.writeUInt8(0xaa, 0);
  error.writeUInt16LE(error.length - 3, 1);
  error.writeInt32LE(number, 3);
  error.writeUInt8(1, 7);
  error.writeUInt8(fatal, 8);
  error.writeUInt16LE(text.length, 9);
  said.copy(error, 11);
  // BYTE 0xfd; USHORT Status (2: an error); USHORT CurCmd; ULONGLONG DoneRowCount
  const done = Buffer.alloc(13);
  done.writeUInt16LE(0x02fd, 0);
  return encodePackets(types.answer, Buffer.concat([error, done]));
}

/** The class of errors that end a connection. */
const fatal = 20;
