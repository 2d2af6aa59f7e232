/** How to close a socket after its handshake has failed. */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { closeWith } from '../net/stream.ts';

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
  return new SoftClose(raw);
}

/** For one handshake. Calling either method ends it. */
export class SoftClose {
  readonly #raw: Softened;
  readonly #destroy: Socket['destroy'];
  #isRefused = false;

  constructor(raw: Softened) {
    this.#raw = raw;
    this.#destroy = raw.destroy;
    raw[softClose] = this;
    raw.destroy = SoftClose.#onDestroy;
  }

  /** The handshake succeeded: lets the socket close normally again. */
  undo(): void {
    this.#raw[softClose] = undefined;
    this.#raw.destroy = this.#destroy;
  }

  /** OpenSSL refused the handshake, and has sent its alert. */
  onRefused(stream: TLSSocket): void {
    this.#isRefused = true;
    // Node's own listener would take away what the socket is read by.
    stream.removeAllListeners('close');
  }

  #close(error: Error | undefined): void {
    const raw = this.#raw;
    this.undo();
    const takeOff = raw.listeners('close').at(-1) as (() => void) | undefined;
    if (takeOff?.name !== 'done') {
      raw.destroy(error);
      return;
    }
    raw.off('close', takeOff);
    // OpenSSL is making this call, and the refusal is reported only after it: take nothing from OpenSSL yet.
    setImmediate(() => {
      if (this.#isRefused) {
        takeOff();
        closeWith(raw, undefined);
      } else {
        raw.once('close', takeOff);
        raw.destroy();
      }
    });
  }

  static readonly #onDestroy = function (this: Softened, error?: Error): Softened {
    const it = this[softClose];
    if (it) it.#close(error);
    return this;
  };
}

const softClose = Symbol('soft close');
type Softened = Socket & { [softClose]?: SoftClose | undefined };
