/** Runs steps that must not overlap one after another. */

/** Runs a step after all earlier ones have settled. Resolves or rejects as the step does. */
export type Turns = <T>(step: () => Promise<T>) => Promise<T>;

/** `onFailure` gets the error of a failed step, whether or not anyone waits for the step. */
export function createTurns(onFailure: (error: unknown) => void = () => {}): Turns {
  let last: Promise<unknown> = Promise.resolve();
  return (step) => {
    const result = last.then(step);
    last = result.catch(onFailure);
    return result;
  };
}

/** Shares one step: callers who ask while it waits for its turn all get its result. */
export function shareTurns<T>(step: () => Promise<T>): () => Promise<T> {
  const turns = createTurns();
  let waiting: Promise<T> | undefined;
  return () => {
    waiting ??= turns(() => {
      waiting = undefined;
      return step();
    });
    return waiting;
  };
}
