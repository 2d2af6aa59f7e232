/** Tells waits on the way to an upstream to stop, and why. */

/** The part of an AbortSignal that we need to stop waiting: both LightAbortSignal and Node's have it. */
export type Signal = Pick<AbortSignal, 'aborted' | 'reason' | 'throwIfAborted'> & {
  addEventListener(type: 'abort', listener: () => void, options: { once: true }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
};

/**
 * An AbortController and its signal in one, without the event machinery. Each connection uses two, and Node's
 * own took a thirtieth of the CPU time of a plain connection (`npm run bench:compare -- --only plain`).
 */
export class LightAbortSignal implements Signal {
  aborted = false;
  reason: unknown;
  #listeners: (() => void)[] = [];

  /** Calls the listeners once. Only the first reason counts. */
  abort(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener();
  }

  throwIfAborted(): void {
    if (this.aborted) throw this.reason;
  }

  /** Never calls a listener that is added after the abort; nor does an AbortSignal. */
  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.push(listener);
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    const index = this.#listeners.indexOf(listener);
    if (index >= 0) this.#listeners.splice(index, 1);
  }
}
