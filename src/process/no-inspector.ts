/**
 * Imported first by every penstock process, so that signals do only what we decide. The kernel would not even
 * deliver SIGTERM to process 1 of a container without a listener; and SIGUSR1 without a listener opens Node's
 * inspector, which gives anyone who may signal the process access to it. Early signals are kept until taken.
 */
const names = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;
export type Signal = (typeof names)[number];

const early: Signal[] = [];
let take = (signal: Signal): void => void early.push(signal);
const listeners = names.map((name) => [name, () => take(name)] as const);
for (const [name, listener] of listeners) process.on(name, listener);

/** Sends signals to `listener` from now on, beginning with those that have already arrived. */
export function takeSignals(listener: (signal: Signal) => void): void {
  take = listener;
  for (const signal of early.splice(0)) listener(signal);
}

/** For short-lived commands: signals have their usual effect, but do not open the inspector. */
export function leaveSignals(): void {
  for (const [name, listener] of listeners) {
    if (name !== 'SIGUSR1') process.off(name, listener);
  }
  const ending = early.find((signal) => signal !== 'SIGUSR1');
  if (ending) process.kill(process.pid, ending);
}

// Must be set before libuv starts its threads. Only half of them may look up names at a time, and an
// unresponsive name server blocks one for ten seconds. Workers inherit this. (On Node 20, the process that
// the user starts already has its threads by now.)
process.env['UV_THREADPOOL_SIZE'] ??= '16';
