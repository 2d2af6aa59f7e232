/**
 * One connection that is ready before its client. It keeps what the upstream says meanwhile, and
 * notices when the upstream leaves.
 */
import { closeWith, type Stream } from '../../net/stream.ts';

/** How much an upstream may say before there is a client. After that we stop reading. */
const mostSaid = 64 * 1024;

/** What has been done on it so far, and the stream to continue with, such as TLS. */
export type Begins = { readonly stream: Stream };

export class WarmConnection<Begun extends Begins> {
  readonly begun: Begun;
  readonly madeAt = performance.now();
  readonly #onDead: () => void;
  #said: Buffer[] = [];
  #length = 0;

  /**
   * The stream must be paused and have no listeners. `onDead` is called once if
   * the upstream ends it in any way.
   */
  constructor(begun: Begun, onDead: () => void) {
    this.begun = begun;
    this.#onDead = onDead;
    const { stream, raw, reader } = begun.stream;
    // Until there is a splice, bytes go into the stream as usual, because somebody may want to peek first.
    if (reader) {
      reader.deliver = (chunk) => {
        // A push may make Node resume reading on a paused socket, and such a socket does not stop by itself.
        if (!raw.push(chunk) && raw.isPaused()) raw.pause();
      };
    }
    stream.on('data', this.#onData);
    stream.on('end', this.#onEnd).on('error', this.#onEnd).on('close', this.#onEnd);
    stream.resume();
  }

  /** Whether the upstream left before anybody listened. */
  isDead(): boolean {
    const { stream, raw } = this.begun.stream;
    return raw.destroyed || stream.destroyed || stream.readableEnded;
  }

  /** Hands over the connection, paused, with everything the upstream has said at the front. */
  take(): Begun {
    const { stream } = this.begun.stream;
    this.#unwatch();
    stream.pause();
    if (this.#length > 0) stream.unshift(Buffer.concat(this.#said));
    return this.begun;
  }

  /** Closes it the way a client does, since many servers would log a reset as an error. */
  close(): void {
    this.#unwatch();
    closeWith(this.begun.stream.stream, undefined);
  }

  #unwatch(): void {
    const { stream } = this.begun.stream;
    stream.off('data', this.#onData);
    stream.off('end', this.#onEnd).off('error', this.#onEnd).off('close', this.#onEnd);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#said.push(chunk);
    this.#length += chunk.length;
    if (this.#length >= mostSaid) this.begun.stream.stream.pause();
  };

  readonly #onEnd = (): void => {
    this.#unwatch();
    // The TLS stream closes along with it. (Never the other way round: see net/stream.ts.)
    this.begun.stream.raw.destroy();
    this.#onDead();
  };
}
