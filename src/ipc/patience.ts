/**
 * Questions to another process that must not delay anyone for long: while it does not answer, the asker does
 * without.
 */

export type Patience = {
  /** A question has been waiting too long, so others would too. */
  readonly isSilent: () => boolean;
  /** Resolves with the answer, or with undefined if it is late or will never come. */
  readonly within: <T>(answer: Promise<T>) => Promise<T | undefined>;
};

/**
 * Longer than the other process normally needs for anything, and than it waits for a third process itself.
 */
const patienceMs = 1000;

export function createPatience(ms: number = patienceMs): Patience {
  let late = 0;
  return {
    isSilent: () => late > 0,
    within<T>(answer: Promise<T>) {
      return new Promise<T | undefined>((resolve) => {
        let isLate = false;
        const timer = setTimeout(() => {
          // Timers run before messages. If this process was the one that stalled, the answer is already here,
          // and this lets it come first.
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
