/** Limits how long an attempt may take, and stops waiting after that. */
import { LightAbortSignal, type Signal } from '../net/abort-signal.ts';

/** `signal` aborts when time is up, or with the parent's own reason when the parent aborts. */
export type Deadline = {
  readonly signal: Signal;
  /** Stops the clock while we are not waiting for the upstream. */
  pause(): void;
  /** Starts it again from where it stopped. */
  resume(): void;
  /** Ends it: the signal then never aborts. Always call it once. */
  stop(): void;
};

/**
 * A deadline of `ms` (Infinity: none) below `parent`; `expired` creates the
 * reason that the signal aborts with.
 */
export function startDeadline(ms: number, parent: Signal, expired: () => Error): Deadline {
  const signal = new LightAbortSignal();
  const follow = () => signal.abort(parent.reason);
  let remaining = ms;
  let startedAt = 0;
  let timer: NodeJS.Timeout | undefined;
  let lastLook: NodeJS.Immediate | undefined;
  // After the event loop was blocked, the timer is due at the same time as answers that
  // came in time. Read those first.
  const due = () => {
    lastLook = setImmediate(() => signal.abort(expired()));
  };
  const halt = () => {
    clearTimeout(timer);
    clearImmediate(lastLook);
  };
  const resume = () => {
    if (remaining === Number.POSITIVE_INFINITY) return;
    startedAt = performance.now();
    timer = setTimeout(due, remaining);
  };
  if (parent.aborted) follow();
  else {
    parent.addEventListener('abort', follow, { once: true });
    resume();
  }
  return {
    signal,
    resume,
    pause() {
      halt();
      remaining = Math.max(0, remaining - (performance.now() - startedAt));
    },
    stop() {
      halt();
      parent.removeEventListener('abort', follow);
    },
  };
}

/**
 * The promise's outcome, or a rejection with the signal's reason if that comes
 * first. The work itself continues.
 */
export function untilAborted<T>(promise: Promise<T>, signal: Signal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    const settled = () => signal.removeEventListener('abort', onAbort);
    promise.then(
      (value) => {
        settled();
        resolve(value);
      },
      (error) => {
        settled();
        reject(error);
      },
    );
  });
}
