/** Counts the users of something that ends with the last of them. */

export type Users = {
  readonly enter: () => void;
  readonly leave: () => void;
  /** Admits no more users; calls `onLast` once, after the last user has left. */
  readonly close: (onLast: () => void) => void;
};

export function createUsers(): Users {
  let count = 0;
  let last: (() => void) | undefined;

  function settle(): void {
    if (count > 0 || last === undefined) return;
    const onLast = last;
    last = undefined;
    onLast();
  }

  return {
    enter() {
      count += 1;
    },
    leave() {
      count -= 1;
      settle();
    },
    close(onLast) {
      last = onLast;
      settle();
    },
  };
}
