/** PRELOGIN, by which both sides settle before a login whether there is TLS (MS-TDS §2.2.6.5). Pure. */
import { encodePackets } from './packets.ts';

/** What a side says of itself, by the numbers of the options. */
export type Options = ReadonlyMap<number, Buffer>;

export const options = { version: 0, encryption: 1, instance: 2, thread: 3, mars: 4 } as const;

/** In ENCRYPTION: whether a side wants TLS. With `off` only the login is within it. */
export const encryption = { off: 0, on: 1, none: 2, required: 3 } as const;

/** More than there are. */
const maxOptions = 32;

/** The options of a PRELOGIN message; undefined if it is malformed. */
export function optionsIn(payload: Buffer): Options | undefined {
  // { BYTE token; USHORT offset; USHORT length } …; BYTE 0xff; the values
  const found = new Map<number, Buffer>();
  for (let at = 0; found.size <= maxOptions; at += 5) {
    const token = payload[at];
    if (token === 0xff) return found;
    if (token === undefined || at + 5 > payload.length || found.has(token)) return undefined;
    const start = payload.readUInt16BE(at + 1);
    const end = start + payload.readUInt16BE(at + 3);
    if (end > payload.length) return undefined;
    found.set(token, payload.subarray(start, end));
  }
  return undefined;
}

/** A PRELOGIN message: a client's is of its own type, a server's an answer. */
export function encodePrelogin(type: number, of: Options): Buffer {
  const head = Buffer.alloc(5 * of.size + 1, 0xff);
  let offset = head.length;
  for (const [index, [token, value]] of [...of].entries()) {
    head.writeUInt8(token, 5 * index);
    head.writeUInt16BE(offset, 5 * index + 1);
    head.writeUInt16BE(value.length, 5 * index + 3);
    offset += value.length;
  }
  return encodePackets(type, Buffer.concat([head, ...of.values()]));
}

/** What the options say of TLS. The other bits are about certificates of clients. */
export function encryptionIn(of: Options): number {
  return (of.get(options.encryption)?.[0] ?? encryption.none) & 0x0f;
}
