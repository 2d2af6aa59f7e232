/**
 * Writes bulk in few, large pieces. It comes out of TLS record by record, and each record would be a
 * system call. `npm run bench:compare -- --only bulk-tls-up` shows what this saves: see "What
 * helped" in docs/performance.md.
 */
import type { Stream } from '../net/stream.ts';

/** Where to write, and whether writes are being held back until this turn of the event loop ends. */
export type Batched = { readonly to: Stream; isGathering: boolean };

/** Call before each write: once a record was full, all writes of this turn become one. */
export function gather(direction: Batched, chunk: Buffer): void {
  if (chunk.length !== fullRecord || direction.isGathering) return;
  direction.isGathering = true;
  direction.to.stream.cork();
  setImmediate(scatter, direction);
}

function scatter(direction: Batched): void {
  direction.isGathering = false;
  direction.to.stream.uncork();
}

/** The most that one record carries (RFC 8446 §5.1). */
const fullRecord = 16 * 1024;
