/**
 * What no event reports about a side: a reset while we do not read from it, and
 * answers by TLS that it does not read.
 */
import type { Stream } from '../net/stream.ts';
import type { SpliceEnd } from './describe-failure.ts';
import { unsentBytes } from './tls-writes.ts';

/**
 * While the other side is slow we do not read from this one, and then its socket reports nothing, not even a
 * reset. Writing no bytes sends nothing, but fails after a reset, which closes the socket. (An end is not
 * noticed this way: it is part of the payload, and waits its turn.)
 */
export function touchHeldBack(side: Stream): void {
  const { stream, raw } = side;
  // A pending write notices the reset by itself.
  const isWriting = stream.writableLength > 0 || unsentBytes(side) > 0;
  if (!isWriting && !stream.writableEnded && stream.isPaused()) raw.write(nothing);
}

/**
 * Why to end a side that keeps TLS answering (each KeyUpdate asks for an answer, RFC 8446 §4.6.3) but reads
 * no answers; otherwise undefined. Backpressure bounds payload, but Node queues these answers without limit.
 */
export function unreadAnswers(from: Stream, side: 'client' | 'upstream'): SpliceEnd | undefined {
  if (unsentBytes(from) <= maxUnsent) return undefined;
  return {
    side,
    code: side === 'client' ? 'ERR_CLIENT_TLS' : 'ERR_UPSTREAM_TLS',
    error: `the ${side} makes TLS answer it but does not read the answers: more than ${maxUnsent} bytes are waiting`,
  };
}

/** Several times what payload can occupy: the chunk being written, plus the stream's high-water mark. */
const maxUnsent = 1024 * 1024;

const nothing = Buffer.alloc(0);
