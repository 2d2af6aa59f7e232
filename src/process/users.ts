/** Those who use something that ends with the last of them. */

export type Users = {
  readonly enter: () => void;
  readonly leave: () => void;
  /** Nobody enters from now on; `onLast` is called once the last user has left, and forgotten. */
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
