/** What clients and endpoints send each other: bytes that both can tell from their position, so that each one is compared. */
import { createCipheriv } from 'node:crypto';

/** A prime: no chunk, record or buffer has a length that would hide a shift. */
const period = 1_048_573;
const stream = createCipheriv('aes-128-ctr', Buffer.alloc(16, 'soak'), Buffer.alloc(16)).update(
  Buffer.alloc(period),
);
// Twice, so that any piece up to a period is one slice.
const twice = Buffer.concat([stream, stream]);

/** Bytes `position` to `position + length` of the stream of that seed; at most 1 MB. Not to be written to. */
export function payload(seed: number, position: number, length: number): Buffer {
  const from = (seed * 7919 + position) % period;
  return twice.subarray(from, from + length);
}

/** Where `chunk` differs from the stream of that seed at that position; undefined: nowhere. */
export function differsAt(chunk: Buffer, seed: number, position: number): number | undefined {
  for (let at = 0; at < chunk.length; at += period) {
    const piece = chunk.subarray(at, at + period);
    const expected = payload(seed, position + at, piece.length);
    if (!piece.equals(expected))
      return position + at + piece.findIndex((byte, index) => byte !== expected[index]);
  }
  return undefined;
}
