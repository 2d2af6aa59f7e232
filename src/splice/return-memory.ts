/**
 * Frees the memory of bulk as soon as it is written. A bulk chunk has an ArrayBuffer of its own, or
 * shares one with three others. All of them count towards V8's next full collection, which would
 * otherwise run every 64 MiB, find little else to free, and take a third of the time that bulk takes.
 * Node 20 cannot free an ArrayBuffer.
 *
 * `npm run bench:compare -- --only bulk-plain-up,bulk-tls-up` shows what this saves: see "What
 * helped" in docs/performance.md.
 */

/** What to call once this chunk is written in full; undefined leaves the chunk to the garbage collector. */
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

/** Smaller chunks are many, and freeing each costs more than collecting it. */
const bulky = 8 * 1024;

/** How many bytes of a shared ArrayBuffer have been written. Chunks never overlap. */
const written = new WeakMap<ArrayBuffer, number>();
