/**
 * Reads the encoding of TLS: numbers in network order, and vectors that start
 * with their length (RFC 8446 §3).
 */

/** These bytes are not valid TLS. */
export class Malformed extends Error {}

/** A position in bytes that advances with each read; a read throws Malformed if the bytes end too early. */
type Cursor = {
  /** How many bytes are left. */
  readonly left: () => number;
  /** An unsigned number of `size` bytes. */
  readonly number: (size: 1 | 2 | 3) => number;
  /** The next `length` bytes, sharing memory with the source. */
  readonly take: (length: number) => Buffer;
  /** The contents of a vector whose length field takes `size` bytes. */
  readonly vector: (size: 1 | 2 | 3) => Buffer;
};

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

/** Reads one item after another to the very end of the bytes. */
export function readAll<Item>(bytes: Buffer, read: (cursor: Cursor) => Item): Item[] {
  const cursor = createCursor(bytes);
  const items: Item[] = [];
  while (cursor.left() > 0) items.push(read(cursor));
  return items;
}
