/**
 * Bulk is written in few and large pieces. It comes out of TLS record by record, which would be a system call each.
 * `npm run bench:compare -- --only bulk-tls-up` shows what that saves: see "What helped" in docs/performance.md.
 */
import type { Stream } from '../net/stream.ts';

/** Where to write, and whether what has come in this turn of the event loop waits for its end. */
export type Batched = { readonly to: Stream; isGathering: boolean };

/** To be called ahead of each write: with a full record, all writes of this turn become one. */
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

/** The most that a record carries (RFC 8446 §5.1). */
const fullRecord = 16 * 1024;
