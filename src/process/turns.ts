/** Steps that must not overlap take turns. */

/** Runs a step when all that were asked for before it have ended, however they did. Resolves and rejects as the step does. */
export type Turns = <T>(step: () => Promise<T>) => Promise<T>;

/** `onFailure` is given what a step rejects with, whether or not anybody waits for the step. */
export function createTurns(onFailure: (error: unknown) => void = () => {}): Turns {
  let last: Promise<unknown> = Promise.resolve();
  return (step) => {
    const result = last.then(step);
    last = result.catch(onFailure);
    return result;
  };
}

/** The same step for everybody: whoever asks while one waits for its turn gets the result of that one. */
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
