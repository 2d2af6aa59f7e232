/** Limits how long an attempt may take, and stops waiting after that. */
import { LightAbortSignal, type Signal } from '../net/abort-signal.ts';
import { type Alarmed, clearAlarm, setAlarm } from '../net/alarms.ts';

/**
 * A signal that aborts after `ms` (Infinity: never), with the reason that `expired` creates, or when `parent`
 * aborts, with the parent's reason. Always call `stop`, once.
 */
export class Deadline extends LightAbortSignal implements Alarmed {
  alarmAt = Number.POSITIVE_INFINITY;
  alarmPlace = 0;
  readonly #parent: Signal;
  readonly #expired: () => Error;
  #remaining: number;
  #lastLook: NodeJS.Immediate | undefined;

  constructor(ms: number, parent: Signal, expired: () => Error) {
    super();
    this.#parent = parent;
    this.#expired = expired;
    this.#remaining = ms;
    if (parent.aborted) this.abort(parent.reason);
    else {
      parent.addEventListener('abort', this, { once: true });
      this.resume();
    }
  }

  /** The parent has aborted. */
  handleEvent(): void {
    this.abort(this.#parent.reason);
  }

  /** Stops the clock while we are not waiting for the upstream. */
  pause(): void {
    this.#remaining = Math.max(0, this.alarmAt - performance.now());
    this.#halt();
  }

  /** Starts it again from where it stopped. */
  resume(): void {
    if (this.#remaining !== Number.POSITIVE_INFINITY) setAlarm(this, performance.now() + this.#remaining);
  }

  /** Ends it: it never aborts after this. */
  stop(): void {
    this.#halt();
    this.#parent.removeEventListener('abort', this);
  }

  /**
   * After the event loop was blocked, the alarm is due at the same time as answers that
   * came in time. Read those first.
   */
  onAlarm(): void {
    this.#lastLook = setImmediate(Deadline.#onLastLook, this);
  }

  #halt(): void {
    clearAlarm(this);
    clearImmediate(this.#lastLook);
  }

  static #onLastLook(deadline: Deadline): void {
    deadline.abort(deadline.#expired());
  }
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
