/** Calls by name between two processes that exchange messages, with or without an answer. */

/** What one side offers. Arguments and answers are copied by structured clone. */
type Methods = { readonly [name: string]: (...args: never[]) => unknown };

export type Channel<Remote extends Methods> = {
  /**
   * Calls a method and resolves with its answer; rejects if the other side throws, lacks the method, or has
   * gone.
   */
  readonly call: <Name extends keyof Remote & string>(
    name: Name,
    ...args: Parameters<Remote[Name]>
  ) => Promise<Awaited<ReturnType<Remote[Name]>>>;
  /** Calls without waiting for an answer; lost if the other side has gone. */
  readonly tell: <Name extends keyof Remote & string>(name: Name, ...args: Parameters<Remote[Name]>) => void;
  /** Must be given every message that arrives. */
  readonly receive: (message: unknown) => void;
  /** To be called when the other side has gone: all calls waiting for an answer reject. */
  readonly close: () => void;
};

type Message =
  | {
      readonly kind: 'call';
      readonly id: number | undefined;
      readonly name: string;
      readonly args: readonly unknown[];
    }
  | { readonly kind: 'answer'; readonly id: number; readonly value?: unknown; readonly error?: string };

/** `send` may fail silently once the other side has gone. */
export function createChannel<Remote extends Methods>(
  send: (message: unknown) => void,
  local: Methods,
): Channel<Remote> {
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  let lastId = 0;
  let closed = false;

  async function serve(message: Extract<Message, { kind: 'call' }>): Promise<void> {
    const { id, name, args } = message;
    try {
      // The other side's `call` has already typed the arguments.
      const method = local[name] as ((...args: readonly unknown[]) => unknown) | undefined;
      if (method === undefined) throw new TypeError(`there is no ${name} here`);
      const value = await method(...args);
      if (id !== undefined && !closed) send({ kind: 'answer', id, value });
    } catch (error) {
      // If no answer is expected, no one else would learn of the error.
      if (id === undefined) throw error;
      if (!closed)
        send({ kind: 'answer', id, error: error instanceof Error ? error.message : String(error) });
    }
  }

  return {
    call(name, ...args) {
      if (closed) return Promise.reject(new Error('the other process has gone'));
      lastId += 1;
      const id = lastId;
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject });
        send({ kind: 'call', id, name, args });
      });
    },
    tell(name, ...args) {
      if (!closed) send({ kind: 'call', id: undefined, name, args });
    },
    receive(received) {
      const message = received as Message;
      if (message.kind === 'call') void serve(message);
      else {
        const asked = waiting.get(message.id);
        waiting.delete(message.id);
        if (message.error === undefined) asked?.resolve(message.value as never);
        else asked?.reject(new Error(message.error));
      }
    },
    close() {
      closed = true;
      for (const { reject } of waiting.values()) reject(new Error('the other process has gone'));
      waiting.clear();
    },
  };
}
