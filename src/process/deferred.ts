/** A promise settled from outside. (Node 20 has no `Promise.withResolvers`.) */
export type Deferred = {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
};

export function deferred(): Deferred {
  let resolve!: Deferred['resolve']; // both are set by the executor, which runs at once
  let reject!: Deferred['reject'];
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
