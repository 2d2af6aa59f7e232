/**
 * Gives memory of bulk back as soon as it is written. Bulk comes in chunks with memory of their own, or four to a piece of
 * memory. All of it counts towards V8's next full collection, which would come every 64 MiB, find little else to free, and take a
 * third of the time of bulk. Node 20 cannot give memory back.
 *
 * `npm run bench:compare -- --only bulk-plain-up,bulk-tls-up` shows what that saves: see "What helped" in docs/performance.md.
 */

/** What to call once this chunk is written in full; undefined for one that is left to the collector. */
export function returnOf(chunk: Buffer): (() => void) | undefined {
  const { buffer, length } = chunk;
  if (length < bulky || length * 8 < buffer.byteLength || !(buffer instanceof ArrayBuffer)) return undefined;
  if (length === buffer.byteLength) return () => void buffer.transfer?.(0);
  return () => {
    const total = (written.get(buffer) ?? 0) + length;
    if (total === buffer.byteLength) buffer.transfer?.(0);
    else written.set(buffer, total);
  };
}

/** Small chunks are many, and cost more to give back than to collect. */
const bulky = 8 * 1024;

/** How many bytes of a piece of memory that several chunks share were written. Chunks share no byte. */
const written = new WeakMap<ArrayBuffer, number>();
