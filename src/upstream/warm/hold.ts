/**
 * What a warm connection occupies even before it is dialled: a place under the
 * upstream's limit, and a descriptor.
 */
import { LightAbortSignal, type Signal } from '../../net/abort-signal.ts';
import { abort, type Stream } from '../../net/stream.ts';
import type { Descriptors } from '../../process/descriptors.ts';
import type { Upstream } from '../upstream.ts';

type HoldParts = {
  readonly upstream: Upstream;
  readonly descriptors: Pick<Descriptors, 'takeSpare' | 'give'>;
};

export class Hold {
  /** Aborts when the shelf closes, or when a client needs the place. */
  readonly signal = new LightAbortSignal();
  readonly #parts: HoldParts;
  readonly #shelf: Signal;
  readonly #onClosed = () => this.signal.abort(this.#shelf.reason);
  #leave: (() => void) | undefined;
  #side: Stream | undefined;
  #hasDescriptor = false;

  constructor(parts: HoldParts, shelf: Signal) {
    this.#parts = parts;
    this.#shelf = shelf;
    shelf.addEventListener('abort', this.#onClosed, { once: true });
  }

  /** Returns false if there is no room. */
  async enter(): Promise<boolean> {
    const { upstream, descriptors } = this.#parts;
    this.#leave = await upstream.enterSpare(() => this.signal.abort(new Error('a client needs its place')));
    this.signal.throwIfAborted();
    this.#hasDescriptor = this.#leave !== undefined && descriptors.takeSpare();
    if (!this.#hasDescriptor) this.letGo();
    return this.#hasDescriptor;
  }

  opened(side: Stream): void {
    this.#side = side;
    side.raw.once('close', () => this.#giveDescriptor());
  }

  /** Call it when a client takes the connection, since the client has a place and a descriptor of its own. */
  handOver(): void {
    this.letGo();
    this.#giveDescriptor();
  }

  /** Gives back the place now, and the descriptor once its socket has closed. */
  letGo(): void {
    this.#shelf.removeEventListener('abort', this.#onClosed);
    this.#leave?.();
    if (this.#side === undefined) this.#giveDescriptor();
  }

  /** For a connection that is not ready yet. */
  destroy(): void {
    if (this.#side) abort(this.#side);
    this.letGo();
  }

  #giveDescriptor(): void {
    if (!this.#hasDescriptor) return;
    this.#hasDescriptor = false;
    this.#parts.descriptors.give(1);
  }
}
