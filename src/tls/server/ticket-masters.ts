/**
 * Where the masters of session tickets come from: made here at random and replaced in time, or handed over.
 */
import { randomBytes } from 'node:crypto';
import type { TicketMasters } from '../../config/load.ts';

/** A policy reads it at each handshake: the object stays the same until the masters change. */
export type TicketMasterSource = { readonly read: () => TicketMasters };

/** Masters that replace themselves. */
type RotatingMasters = TicketMasterSource & {
  /** Changes how long masters live (ms); any that have lived longer are replaced at once. */
  readonly rotateEvery: (ms: number) => void;
  readonly stop: () => void;
};

/**
 * Random masters, replaced every `rotateEveryMs`; the previous ones are still accepted.
 * `onRotate` is called after each change. Keeps no process alive. They are secrets: whoever has
 * them can read recorded TLS 1.2 sessions.
 */
export function createTicketMasters(
  rotateEveryMs: number,
  onRotate: (masters: TicketMasters) => void = () => {},
): RotatingMasters {
  let masters: TicketMasters = { current: randomBytes(32), accepted: [] };
  let madeAt = performance.now();
  let life = rotateEveryMs;
  let timer: NodeJS.Timeout | undefined;
  const rotate = () => {
    masters = { current: randomBytes(32), accepted: [masters.current] };
    madeAt = performance.now();
    schedule();
    onRotate(masters);
  };
  const schedule = () => {
    clearTimeout(timer);
    timer = setTimeout(rotate, Math.max(1, madeAt + life - performance.now())).unref();
  };
  schedule();
  return {
    read: () => masters,
    rotateEvery(ms) {
      // Node keeps an unref'd timer's list until its time, even once cleared: a new timer
      // at each reload would be a leak.
      if (ms === life) return;
      life = ms;
      schedule();
    },
    stop: () => clearTimeout(timer),
  };
}

/** Masters that another process hands over and rotates. */
export function holdTicketMasters(
  first: TicketMasters,
): TicketMasterSource & { readonly replace: (masters: TicketMasters) => void } {
  let held = first;
  return {
    read: () => held,
    replace(masters) {
      held = masters;
    },
  };
}
