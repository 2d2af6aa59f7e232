/** Reads what TLS writes: numbers in network order, and vectors with their length in front (RFC 8446 §3). */

/** The bytes are not what TLS would send. */
export class Malformed extends Error {}

/** A place in bytes that moves on as they are read; every read throws Malformed where the bytes end too early. */
type Cursor = {
  /** How many bytes are still to be read. */
  readonly left: () => number;
  /** An unsigned number of so many bytes. */
  readonly number: (size: 1 | 2 | 3) => number;
  /** So many bytes, shared with the source. */
  readonly take: (length: number) => Buffer;
  /** The contents of a vector whose length takes so many bytes. */
  readonly vector: (size: 1 | 2 | 3) => Buffer;
};

/** A cursor at the first byte. */
export function createCursor(bytes: Buffer): Cursor {
  let at = 0;
  const take = (length: number) => {
    if (at + length > bytes.length)
      throw new Malformed(`${length} bytes where ${bytes.length - at} are left`);
    at += length;
    return bytes.subarray(at - length, at);
  };
  const number = (size: 1 | 2 | 3) => take(size).readUIntBE(0, size);
  return { left: () => bytes.length - at, number, take, vector: (size) => take(number(size)) };
}

/** Reads items one after another to the very end of the bytes. */
export function readAll<Item>(bytes: Buffer, read: (cursor: Cursor) => Item): Item[] {
  const cursor = createCursor(bytes);
  const items: Item[] = [];
  while (cursor.left() > 0) items.push(read(cursor));
  return items;
}
