/**
 * One connection that is ready before its client. It keeps what the upstream says meanwhile, and notices when
 * the upstream leaves.
 */
import { closeWith, type Stream } from '../../net/stream.ts';

/** What an upstream may say to a client that is not there yet; then it is no longer read. */
const mostSaid = 64 * 1024;

/** What was done on it so far, with the stream that comes next: TLS, for one. */
export type Begins = { readonly stream: Stream };

export class WarmConnection<Begun extends Begins> {
  readonly begun: Begun;
  readonly madeAt = performance.now();
  readonly #onDead: () => void;
  #said: Buffer[] = [];
  #length = 0;

  /** The stream is paused and has no listeners. `onDead` is called once if the upstream ends it, in whatever way. */
  constructor(begun: Begun, onDead: () => void) {
    this.begun = begun;
    this.#onDead = onDead;
    const { stream, raw, reader } = begun.stream;
    // What is read goes the usual way until a splice comes: somebody may want to peek first.
    if (reader) {
      reader.deliver = (chunk) => {
        // A push may have Node read on although it is paused, and such a socket does not stop by itself.
        if (!raw.push(chunk) && raw.isPaused()) raw.pause();
      };
    }
    stream.on('data', this.#onData);
    stream.on('end', this.#onEnd).on('error', this.#onEnd).on('close', this.#onEnd);
    stream.resume();
  }

  /** Whether the upstream has left before anybody listened. */
  isDead(): boolean {
    const { stream, raw } = this.begun.stream;
    return raw.destroyed || stream.destroyed || stream.readableEnded;
  }

  /** Hands it over, paused, with all that was said in front. */
  take(): Begun {
    const { stream } = this.begun.stream;
    this.#unwatch();
    stream.pause();
    if (this.#length > 0) stream.unshift(Buffer.concat(this.#said));
    return this.begun;
  }

  /** Takes leave as a client does: a reset would be an error in the log of many a server. */
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
    // The TLS stream closes with it. (Never the other way round: see net/stream.ts.)
    this.begun.stream.raw.destroy();
    this.#onDead();
  };
}
