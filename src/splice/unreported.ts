/** What no event reports of a side: a reset while it is held back, answers of TLS that it does not read. */
import type { Stream } from '../net/stream.ts';
import type { SpliceEnd } from './describe-failure.ts';
import { unsentBytes } from './tls-writes.ts';

/**
 * A socket that is not read because the other side is slow reports nothing, not even a reset. A write of no bytes sends nothing,
 * and fails behind a reset, so that the socket closes. (An end is payload's last part, and waits its turn.)
 */
export function touchHeldBack(side: Stream): void {
  const { stream, raw } = side;
  // What waits to be written notices by itself.
  const isWriting = stream.writableLength > 0 || unsentBytes(side) > 0;
  if (!isWriting && !stream.writableEnded && stream.isPaused()) raw.write(nothing);
}

/**
 * Why to end a side that has TLS answer it (a KeyUpdate asks for an answer, RFC 8446 §4.6.3) and reads none: payload waits for a
 * slow reader, but Node keeps these answers without bound.
 */
export function unreadAnswers(from: Stream, side: 'client' | 'upstream'): SpliceEnd | undefined {
  if (unsentBytes(from) <= maxUnsent) return undefined;
  return {
    side,
    code: side === 'client' ? 'ERR_CLIENT_TLS' : 'ERR_UPSTREAM_TLS',
    error: `the ${side} has TLS answer it and does not read the answers: more than ${maxUnsent} bytes wait`,
  };
}

/** Several times what payload can take: a chunk that is being written, and the stream's high-water mark. */
const maxUnsent = 1024 * 1024;

const nothing = Buffer.alloc(0);
