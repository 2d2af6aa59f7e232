/** What TLS writes by itself: session tickets, the last message of a handshake, answers to a KeyUpdate. */
import type { Stream } from '../net/stream.ts';

/**
 * Bytes that TLS has encrypted but not sent. No public property says so; on a Node
 * without this one, the answer is 0.
 */
export function unsentBytes({ stream, raw }: Stream): number {
  return stream === raw ? 0 : queueOf(stream);
}

/**
 * Whether this side's 'end' is really a reset. Call it on 'end'; it calls `then`, mostly at once.
 *
 * Linux reports a reset only once, to whichever call comes first; every later read just sees an end. If
 * the first call was a write by TLS itself, Node drops the error and keeps counting those bytes as unsent
 * for ever, although the socket below has nothing left to send. A successful write looks the same until
 * its callback has run, which libuv may delay beyond the next 'immediate'. So it is a reset only if
 * nothing has moved for several turns.
 */
export function whetherReset(side: Stream, then: (isReset: boolean) => void, turns = 4): void {
  const { stream, raw } = side;
  // After our own FIN every write fails, reset or not.
  if (stream.writableEnded || !isStuck(side)) {
    then(false);
    return;
  }
  if (turns === 0) {
    then(true);
    return;
  }
  const before = raw.bytesWritten;
  setImmediate(() => {
    if (!raw.destroyed) whetherReset(side, then, raw.bytesWritten === before ? turns - 1 : undefined);
  });
}

function isStuck(side: Stream): boolean {
  return unsentBytes(side) > 0 && queueOf(side.raw) === 0;
}

function queueOf(socket: Stream['stream']): number {
  return (socket as { _handle?: { writeQueueSize?: number } | null })._handle?.writeQueueSize ?? 0;
}
