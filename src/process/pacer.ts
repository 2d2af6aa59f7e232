/** Long work in short pieces, so that the event loop has its turn every few milliseconds. */

export type Pacer = {
  /** Whether the loop has waited long enough: ask after each small step. */
  readonly isDue: () => boolean;
  /** Lets everything have its turn that waits. */
  readonly rest: () => Promise<void>;
};

/** What waits longer is noticed as a stall; much shorter, the rests themselves cost. */
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

/** Work that may be interrupted wherever it yields: after each small step. */
export type Work<T> = Generator<void, T, void>;

/** Does it in slices, between which the loop has its turn. */
export async function inSlices<T>(work: Work<T>): Promise<T> {
  const pacer = createPacer();
  // Whoever calls has had some of this turn, and the loop looks for messages only after the slice that follows it.
  await pacer.rest();
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
    if (pacer.isDue()) await pacer.rest();
  }
}

/** Where nothing waits. */
export function atOnce<T>(work: Work<T>): T {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
  }
}
