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
