/** Questions to another process that must hold nobody up for long: while it does not answer, its answers are done without. */

export type Patience = {
  /** A question has waited too long, and still waits: others would, too. */
  readonly isSilent: () => boolean;
  /** Resolves with the answer, or with undefined when it is late or will never come. */
  readonly within: <T>(answer: Promise<T>) => Promise<T | undefined>;
};

/** Longer than the other process takes for anything when all is well, and than it waits itself for a third. */
const patienceMs = 1000;

export function createPatience(ms: number = patienceMs): Patience {
  let late = 0;
  return {
    isSilent: () => late > 0,
    within<T>(answer: Promise<T>) {
      return new Promise<T | undefined>((resolve) => {
        let isLate = false;
        const timer = setTimeout(() => {
          // Timers run before messages: if it was this process that stood still, the answer is here and comes first this way.
          immediate = setImmediate(() => {
            isLate = true;
            late += 1;
            resolve(undefined);
          });
        }, ms);
        let immediate: NodeJS.Immediate | undefined;
        const settle = (value?: T) => {
          clearTimeout(timer);
          clearImmediate(immediate);
          if (isLate) late -= 1;
          resolve(value);
        };
        answer.then(settle, () => settle());
      });
    },
  };
}
