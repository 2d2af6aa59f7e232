/**
 * Imported before all else, by every process of penstock: from here on no signal ends it but by what we make of it. As process 1
 * of a container it would not even be sent a SIGTERM that nobody listens to; and SIGUSR1 without a listener opens Node's
 * inspector, which is a way into the process for whoever may signal it. What comes early is kept until somebody takes it.
 */
const names = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;
export type Signal = (typeof names)[number];

const early: Signal[] = [];
let take = (signal: Signal): void => void early.push(signal);
const listeners = names.map((name) => [name, () => take(name)] as const);
for (const [name, listener] of listeners) process.on(name, listener);

/** From now on signals go there, first those that have come already. */
export function takeSignals(listener: (signal: Signal) => void): void {
  take = listener;
  for (const signal of early.splice(0)) listener(signal);
}

/** For commands that are not there to stay: signals do what they do to any program, but for the inspector. */
export function leaveSignals(): void {
  for (const [name, listener] of listeners) {
    if (name !== 'SIGUSR1') process.off(name, listener);
  }
  const ending = early.find((signal) => signal !== 'SIGUSR1');
  if (ending) process.kill(process.pid, ending);
}

// What has to be known before the first thread is made: of libuv's, half may look names up at a time, and a name server that does
// not answer holds one for ten seconds. Workers inherit it. (The process that the user starts has made its own by now on Node 20.)
process.env['UV_THREADPOOL_SIZE'] ??= '16';
