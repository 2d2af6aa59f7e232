/** How to close a socket after its handshake has failed. */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { closeWith } from '../net/stream.ts';

/** For one handshake. Calling either function ends it. */
type SoftClose = {
  /** The handshake succeeded: lets the socket close normally again. */
  readonly undo: () => void;
  /** OpenSSL refused the handshake, and has sent its alert. */
  readonly onRefused: (stream: TLSSocket) => void;
};

/**
 * When OpenSSL refuses a handshake, Node closes the socket at once. Many clients write their flight in
 * several pieces under TLS 1.2; the rest of it would then be answered by a reset, which overtakes the alert.
 * So here Node's call only takes TLS off the socket. Whatever still arrives is read and dropped, and the
 * socket closes when the client ends, or after a second (`closeWith`).
 *
 * Call it before putting TLS on the socket. What takes TLS off is a 'close' listener that Node attaches right
 * before it closes the socket; there is no public way to do it. If there is no such listener (another
 * runtime), the socket closes at once.
 */
export function closeSoftly(raw: Socket): SoftClose {
  const destroy = raw.destroy;
  let isRefused = false;
  const undo = () => {
    raw.destroy = destroy;
  };
  const intercept = (error?: Error): Socket => {
    undo();
    const takeOff = raw.listeners('close').at(-1) as (() => void) | undefined;
    if (takeOff?.name !== 'done') return raw.destroy(error);
    raw.off('close', takeOff);
    // OpenSSL is making this call, and the refusal is reported only after it: take nothing from OpenSSL yet.
    setImmediate(() => {
      if (isRefused) {
        takeOff();
        closeWith(raw, undefined);
      } else {
        raw.once('close', takeOff);
        raw.destroy();
      }
    });
    return raw;
  };
  raw.destroy = intercept;
  return {
    undo,
    onRefused(stream) {
      isRefused = true;
      // Node's own listener would take away what the socket is read by.
      stream.removeAllListeners('close');
    },
  };
}
