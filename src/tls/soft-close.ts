/** How a socket is closed under a handshake that has failed. */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { closeWith } from '../net/stream.ts';

/** For one handshake, which is over once either is called. */
type SoftClose = {
  /** The handshake is done: the socket closes as others do. */
  readonly undo: () => void;
  /** OpenSSL has refused it, and sent its alert. */
  readonly onRefused: (stream: TLSSocket) => void;
};

/**
 * When OpenSSL refuses a handshake, Node closes the socket at once. A client that writes its flight in several pieces, as many do
 * under TLS 1.2, then has the rest answered by a reset, which overtakes the alert. So here Node's call takes TLS off the socket
 * only; what still comes is read and dropped, and the client's end or a second later the socket closes (`closeWith`).
 *
 * To be called before TLS is put on the socket. TLS comes off in a 'close' listener that Node attaches right before it closes
 * the socket; no public call does that. Where there is no such listener (another runtime), the socket closes at once.
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
    // The refusal is reported after this call, which OpenSSL has made: nothing may be taken from it yet.
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
      // Node's own would take from the socket what it reads by.
      stream.removeAllListeners('close');
    },
  };
}
