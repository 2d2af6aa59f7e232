/** The warm connections of an upstream in this process, under one configuration: a shelf per endpoint. */

import { LightAbortSignal, type Signal } from '../../net/abort-signal.ts';
import { normalizeAddress } from '../../net/address.ts';
import { Deadline } from '../deadline.ts';
import type { Endpoint } from '../endpoint.ts';
import { Shelf, type ShelfParts } from './shelf.ts';
import type { Begins } from './warm-connection.ts';

export class WarmPool<Begun extends Begins> {
  readonly #parts: ShelfParts<Begun>;
  readonly #shelves = new Map<Endpoint, Shelf<Begun>>();
  readonly #closed = new LightAbortSignal();
  #timer: NodeJS.Timeout | undefined;

  /** Dials nothing before `open`. */
  constructor(parts: ShelfParts<Begun>) {
    this.#parts = parts;
  }

  /** Starts to keep connections ready to every endpoint that is not a template. */
  open(): void {
    void this.#look();
  }

  /** Ends all of them; clients get none any more. */
  close(): void {
    this.#closed.abort(new Error('the configuration has been replaced'));
    clearTimeout(this.#timer);
    for (const shelf of this.#shelves.values()) shelf.close();
    this.#shelves.clear();
  }

  /**
   * Gives the caller a connection to this endpoint. undefined means that there is
   * none, so the client has to dial.
   */
  take(endpoint: Endpoint): Begun | undefined {
    return this.#shelves.get(endpoint)?.take();
  }

  /** Finds out which endpoints and addresses there are, and again each time the answer expires. */
  async #look(): Promise<void> {
    const { upstream } = this.#parts;
    const deadline = new Deadline(lookUpMs, this.#closed, () => new Error('the look-up takes too long'));
    try {
      const endpoints = await upstream.listed(deadline);
      if (this.#closed.aborted) return;
      this.#adopt(endpoints);
      for (const [endpoint, shelf] of this.#shelves) await this.#checkAddresses(endpoint, shelf, deadline);
    } catch {
      // The look-up took too long, or the pool was closed.
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
      // If a name does not resolve, its shelf stays as it is. Clients that dial will report the error.
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
