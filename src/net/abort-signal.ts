/** Tells waits on the way to an upstream to stop, and why. */

/** As with any EventTarget, an object with `handleEvent` will do, which saves a closure. */
export type AbortListener = (() => void) | { handleEvent(): void };

/** The part of an AbortSignal that we need to stop waiting: both LightAbortSignal and Node's have it. */
export type Signal = Pick<AbortSignal, 'aborted' | 'reason' | 'throwIfAborted'> & {
  addEventListener(type: 'abort', listener: AbortListener, options: { once: true }): void;
  removeEventListener(type: 'abort', listener: AbortListener): void;
};

/**
 * An AbortController and its signal in one, without the event machinery. Each connection uses two, and Node's
 * own took a thirtieth of the CPU time of a plain connection (`npm run bench:compare -- --only plain`).
 */
export class LightAbortSignal implements Signal {
  aborted = false;
  reason: unknown = undefined;
  #listeners: AbortListener[] | undefined;

  /** Calls the listeners once. Only the first reason counts. */
  abort(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    const listeners = this.#listeners ?? [];
    this.#listeners = undefined;
    for (const listener of listeners) {
      if (typeof listener === 'function') listener();
      else listener.handleEvent();
    }
  }

  throwIfAborted(): void {
    if (this.aborted) throw this.reason;
  }

  /** Never calls a listener that is added after the abort; nor does an AbortSignal. */
  addEventListener(_type: 'abort', listener: AbortListener): void {
    if (this.#listeners) this.#listeners.push(listener);
    else this.#listeners = [listener];
  }

  removeEventListener(_type: 'abort', listener: AbortListener): void {
    const listeners = this.#listeners;
    const index = listeners?.indexOf(listener) ?? -1;
    if (index < 0) return;
    if (listeners?.length === 1) this.#listeners = undefined;
    else listeners?.splice(index, 1);
  }
}
