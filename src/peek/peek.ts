/**
 * Reads the start of a stream without consuming it: whoever takes the stream over sees
 * every byte that was not dropped.
 */
import type { Socket } from 'node:net';
import { ProxyError, systemCode } from '../errors.ts';

/**
 * Collects what a socket receives and offers it, from the first byte, to one parser after another. A parser
 * always gets all bytes so far. It returns `undefined` when it needs more, and throws once they can never
 * become what it expects, which also bounds how much is held here. One parser at a time.
 *
 * Between `read`s the socket is paused and all its bytes are back in it, so a FIN after them does not end the
 * stream before somebody has read them. After `release` the socket has none of our listeners.
 */
export class Peek {
  readonly #socket: Socket;
  readonly #side: 'client' | 'upstream';
  /**
   * Holds `#length` bytes during a read. It grows by doubling, so that bytes
   * that trickle in cost linear time.
   */
  #buffer: Buffer = empty;
  #length = 0;
  #isAttached = false;
  #parse: ((bytes: Buffer) => unknown) | undefined;
  #resolve: ((value: never) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;
  #ended: ProxyError | undefined;

  constructor(socket: Socket, side: 'client' | 'upstream' = 'client') {
    this.#socket = socket;
    this.#side = side;
    socket.pause();
  }

  /**
   * Resolves with the first result of `parse`; rejects with what it throws, or if
   * the peer closes or resets first.
   */
  read<T>(parse: (bytes: Buffer) => T | undefined): Promise<T> {
    this.#attach();
    return new Promise<T>((resolve, reject) => {
      this.#parse = parse;
      this.#resolve = resolve;
      this.#reject = reject;
      if (this.#socket.destroyed) this.#ended ??= closedEarly(this.#side);
      if (this.#ended) this.#settle()?.(this.#ended);
      else this.#socket.resume();
    });
  }

  /** Discards the first bytes of what the last read saw, so that later readers do not see them. */
  drop(bytes: number): void {
    this.#socket.read(bytes);
  }

  write(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  /** How many bytes have arrived and were not dropped. */
  get length(): number {
    return this.#length + this.#socket.readableLength;
  }

  /** Gives the socket back, paused. Throws if it has ended meanwhile. */
  release(): void {
    const socket = this.#socket;
    socket.pause();
    this.detach();
    if (this.#ended || socket.destroyed || socket.readableEnded) {
      throw this.#ended ?? closedEarly(this.#side);
    }
  }

  /** Removes our listeners and loses the bytes. For sockets that are given up. */
  detach(): void {
    if (!this.#isAttached) return;
    this.#isAttached = false;
    const socket = this.#socket;
    socket.off('data', this.#onData);
    socket.off('end', this.#onEnd);
    socket.off('error', this.#onError);
    socket.off('close', this.#onEnd);
  }

  #attach(): void {
    if (this.#isAttached) return;
    this.#isAttached = true;
    const socket = this.#socket;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onEnd);
  }

  #bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  readonly #onData = (chunk: Buffer): void => {
    // The read that `drop` makes emits 'data' too.
    if (this.#parse === undefined) return;
    if (this.#length === 0) {
      this.#buffer = chunk;
    } else {
      const end = this.#length;
      if (end + chunk.length > this.#buffer.length) {
        const grown = Buffer.allocUnsafe(2 * (end + chunk.length));
        this.#buffer.copy(grown, 0, 0, end);
        this.#buffer = grown;
      }
      chunk.copy(this.#buffer, end);
    }
    this.#length += chunk.length;
    this.#offer(this.#parse);
  };

  #offer(parse: (bytes: Buffer) => unknown): void {
    let value: unknown;
    try {
      value = parse(this.#bytes());
    } catch (error) {
      this.#settle()?.(error);
      return;
    }
    if (value === undefined) return;
    const resolve = this.#resolve;
    this.#settle();
    this.#socket.unshift(this.#bytes());
    this.#buffer = empty;
    this.#length = 0;
    resolve?.(value as never);
  }

  /** Ends the current read, and returns its `reject`. */
  #settle(): ((error: unknown) => void) | undefined {
    const reject = this.#reject;
    this.#parse = undefined;
    this.#resolve = undefined;
    this.#reject = undefined;
    this.#socket.pause();
    return reject;
  }

  readonly #onEnd = (): void => {
    this.#ended ??= closedEarly(this.#side);
    this.#settle()?.(this.#ended);
  };

  readonly #onError = (error: Error): void => {
    const side = this.#side;
    this.#ended ??= new ProxyError(side === 'client' ? 'ERR_CLIENT_RESET' : 'ERR_UPSTREAM_CONNECT', {
      side,
      message: `the connection of the ${side} failed (${systemCode(error)})`,
      cause: error,
    });
    this.#settle()?.(this.#ended);
  };
}

const empty = Buffer.alloc(0);

function closedEarly(side: 'client' | 'upstream'): ProxyError {
  return new ProxyError(side === 'client' ? 'ERR_CLIENT_CLOSED' : 'ERR_UPSTREAM_CONNECT', {
    side,
    message: `the ${side} closed the connection before it was established`,
  });
}
