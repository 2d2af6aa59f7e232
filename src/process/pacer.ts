/** Splits long work into short pieces, so that the event loop gets a turn every few milliseconds. */

export type Pacer = {
  /** Whether the event loop has waited long enough; to be asked after each small step. */
  readonly isDue: () => boolean;
  /** Gives everything that waits its turn. */
  readonly rest: () => Promise<void>;
};

/**
 * With longer slices, stalls become noticeable; with much shorter ones, the pauses themselves cost too much.
 */
const sliceMs = 4;

export function createPacer(): Pacer {
  let until = performance.now() + sliceMs;
  return {
    isDue: () => performance.now() >= until,
    async rest() {
      await new Promise((resolve) => setImmediate(resolve));
      until = performance.now() + sliceMs;
    },
  };
}

/** Work that may be interrupted at each `yield`, after each small step. */
export type Work<T> = Generator<void, T, void>;

/** Does the work in slices, and gives the event loop a turn between them. */
export async function inSlices<T>(work: Work<T>): Promise<T> {
  const pacer = createPacer();
  // The caller has already used some of this turn, and the loop checks for messages only after it.
  await pacer.rest();
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
    if (pacer.isDue()) await pacer.rest();
  }
}

/** Does the work in one go, for when nothing waits. */
export function atOnce<T>(work: Work<T>): T {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
  }
}
