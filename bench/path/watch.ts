/** Sees what Node makes for the program of this process. */
import { createHook } from 'node:async_hooks';
import { EventEmitter } from 'node:events';

// biome-ignore lint/complexity/noBannedTypes: any method at all
type Methods = Record<string, Function>;

/**
 * Calls `note` until what it returns is called: with the type of every asynchronous resource as async_hooks names it (`PROMISE`,
 * `TickObject`, `Timeout`, `TCPWRAP` …; for an `await` V8 reports a promise of its own), with `listener` when one is added (the
 * event is the detail), and with `rearm` when a timer is set back to its beginning.
 */
export function watch(note: (what: string, detail?: string) => void): () => void {
  const hook = createHook({ init: (_id, type) => note(type) }).enable();
  const emitter = EventEmitter.prototype as unknown as Methods;
  const target = EventTarget.prototype as unknown as Methods;
  const undo = [
    // `once` and `prependOnceListener` call these.
    before(emitter, 'on', (event) => note('listener', String(event))),
    before(emitter, 'addListener', (event) => note('listener', String(event))),
    before(emitter, 'prependListener', (event) => note('listener', String(event))),
    before(target, 'addEventListener', (event) => note('listener', String(event))),
    before(timeoutMethods(), 'refresh', () => note('rearm')),
  ];
  return () => {
    hook.disable();
    for (const restore of undo) restore();
  };
}

function before(methods: Methods, name: string, act: (first: unknown) => void): () => void {
  const original = methods[name]!; // Node has it
  methods[name] = function (this: unknown, ...args: unknown[]) {
    act(args[0]);
    return Reflect.apply(original, this, args);
  };
  return () => {
    methods[name] = original;
  };
}

function timeoutMethods(): Methods {
  const timeout = setTimeout(() => {}, 0);
  clearTimeout(timeout);
  return Object.getPrototypeOf(timeout) as Methods;
}
