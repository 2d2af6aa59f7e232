/** The warm connections of an upstream in this process: a shelf for each endpoint, under one configuration. */

import { LightAbortSignal, type Signal } from '../../net/abort-signal.ts';
import { normalizeAddress } from '../../net/address.ts';
import { startDeadline } from '../deadline.ts';
import type { Endpoint } from '../endpoint.ts';
import { Shelf, type ShelfParts } from './shelf.ts';
import type { Begins } from './warm-connection.ts';

export class WarmPool<Begun extends Begins> {
  readonly #parts: ShelfParts<Begun>;
  readonly #shelves = new Map<Endpoint, Shelf<Begun>>();
  readonly #closed = new LightAbortSignal();
  #timer: NodeJS.Timeout | undefined;

  /** Nothing is dialled before `open`. */
  constructor(parts: ShelfParts<Begun>) {
    this.#parts = parts;
  }

  /** Begins to keep connections ready to every endpoint that is no template. */
  open(): void {
    void this.#look();
  }

  /** Ends them all; none is given to a client any more. */
  close(): void {
    this.#closed.abort(new Error('the configuration has been replaced'));
    clearTimeout(this.#timer);
    for (const shelf of this.#shelves.values()) shelf.close();
    this.#shelves.clear();
  }

  /** A connection to this endpoint, to be the caller's; undefined: there is none, and the client dials. */
  take(endpoint: Endpoint): Begun | undefined {
    return this.#shelves.get(endpoint)?.take();
  }

  /** Finds out which endpoints and addresses there are, and does so again when the answer has been used for its time. */
  async #look(): Promise<void> {
    const { upstream } = this.#parts;
    const deadline = startDeadline(lookUpMs, this.#closed, () => new Error('the look-up takes too long'));
    try {
      const endpoints = await upstream.listed(deadline.signal);
      if (this.#closed.aborted) return;
      this.#adopt(endpoints);
      for (const [endpoint, shelf] of this.#shelves)
        await this.#checkAddresses(endpoint, shelf, deadline.signal);
    } catch {
      // It takes too long, or has been closed.
    } finally {
      deadline.stop();
      this.#lookAgain();
    }
  }

  async #checkAddresses(endpoint: Endpoint, shelf: Shelf<Begun>, signal: Signal): Promise<void> {
    try {
      const destination = await this.#parts.upstream.destination(endpoint, signal);
      if ('addresses' in destination) shelf.keepOnly(destination.addresses.map(normalizeAddress));
    } catch {
      // A name that does not resolve keeps what it has; to say why is for the clients that dial.
    }
  }

  #lookAgain(): void {
    const { ttl } = this.#parts.upstream.config.resolve;
    if (this.#closed.aborted || ttl === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(() => void this.#look(), Math.max(ttl, shortestMs)).unref();
  }

  #adopt(endpoints: readonly Endpoint[]): void {
    for (const [endpoint, shelf] of this.#shelves) {
      if (endpoints.includes(endpoint)) continue;
      shelf.close();
      this.#shelves.delete(endpoint);
    }
    for (const endpoint of endpoints) {
      if (!this.#shelves.has(endpoint)) this.#shelves.set(endpoint, new Shelf(endpoint, this.#parts));
    }
  }
}

const lookUpMs = 5000;
const shortestMs = 1000;
