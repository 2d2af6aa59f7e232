/** A reason to stop, for what is waited for on the way to an upstream. */

/** What of an AbortSignal is needed to stop waiting: a LightAbortSignal is one, and so is Node's. */
export type Signal = Pick<AbortSignal, 'aborted' | 'reason' | 'throwIfAborted'> & {
  addEventListener(type: 'abort', listener: () => void, options: { once: true }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
};

/**
 * An AbortController and its signal in one, without the machinery of events: two of them serve each connection, and Node's
 * own took a thirtieth of the CPU time of a plain one (`npm run bench:compare -- --only plain`).
 */
export class LightAbortSignal implements Signal {
  aborted = false;
  reason: unknown;
  #listeners: (() => void)[] = [];

  /** Calls the listeners, once. The first reason stays. */
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

  /** Not called if it is aborted already, as with an AbortSignal. */
  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners.push(listener);
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    const index = this.#listeners.indexOf(listener);
    if (index >= 0) this.#listeners.splice(index, 1);
  }
}
