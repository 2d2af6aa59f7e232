/** What TLS writes of its own accord: session tickets, the last message of a handshake, answers to a KeyUpdate. */
import type { Stream } from '../net/stream.ts';

/** What TLS has encrypted and not sent yet. No public property says so; should a later Node have no such one, nothing is unsent. */
export function unsentBytes({ stream, raw }: Stream): number {
  return stream === raw ? 0 : queueOf(stream);
}

/**
 * Whether the end of this side is a reset in truth; asked when its 'end' has come, answered by `then`, mostly at once.
 *
 * Linux reports a reset once, to whichever call comes first, and every read after that says end. Where the first call was a write
 * of TLS's own, Node drops the error and keeps the bytes as being sent for ever, though the socket below has nothing left to send.
 * A write that succeeded looks the same until its callback has run, which libuv leaves to a later turn of the event loop than the
 * next 'immediate'. So it is a reset only if nothing has moved for several turns.
 */
export function whetherReset(side: Stream, then: (isReset: boolean) => void, turns = 4): void {
  const { stream, raw } = side;
  // Behind our own FIN every write fails, whether there was a reset or not.
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
