/**
 * The thread that runs a user's own check. It receives one identity per message, and
 * answers with what the check says.
 */
import { Writable } from 'node:stream';
import { parentPort, workerData } from 'node:worker_threads';
import type { Authorize, ClientIdentity } from './client-identity.ts';

/**
 * `progress` is shared memory: [the request whose check is running, or 0; a count that
 * grows while the thread lives].
 */
export type ThreadData = { readonly module: string; readonly progress: Int32Array };

export type ToThread = { readonly id: number; readonly identity: ClientIdentity } | 'ping';

export type Answer =
  | { readonly kind: 'allow' }
  | { readonly kind: 'deny'; readonly reason: string }
  /** The check threw, or answered with something that is not an answer. */
  | { readonly kind: 'failed'; readonly reason: string };

export type FromThread =
  | { readonly kind: 'ready' }
  | { readonly kind: 'unusable'; readonly reason: string }
  | { readonly kind: 'output'; readonly text: string }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: Answer };

const { module, progress } = workerData as ThreadData;
const port = parentPort;
if (port === null) throw new Error('this file runs in a worker thread');

const send = (message: FromThread): void => port.postMessage(message);

// Sends what the module prints as messages. Reading the thread's own streams on the other side would keep the
// process alive (`unref` does not reach them); left unread, they fill the memory.
const output = new Writable({
  decodeStrings: false,
  write(chunk: string | Buffer, _encoding, done) {
    send({ kind: 'output', text: String(chunk).slice(0, 4096) });
    done();
  },
});
for (const name of ['stdout', 'stderr']) Object.defineProperty(process, name, { get: () => output });

const check = await load();
if (check) {
  port.on('message', (message: ToThread) => {
    Atomics.add(progress, 1, 1);
    if (message !== 'ping') void answer(check, message.id, message.identity);
  });
  send({ kind: 'ready' });
}

async function load(): Promise<Authorize | undefined> {
  try {
    const { default: loaded } = (await import(module)) as { default?: unknown };
    if (typeof loaded === 'function') return loaded as Authorize;
    send({ kind: 'unusable', reason: `its default export is ${kindOf(loaded)}, not a function` });
  } catch (error) {
    send({ kind: 'unusable', reason: messageOf(error) });
  }
  return undefined;
}

async function answer(check: Authorize, id: number, identity: ClientIdentity): Promise<void> {
  send({ kind: 'answer', id, answer: await ask(check, id, identity) });
}

async function ask(check: Authorize, id: number, identity: ClientIdentity): Promise<Answer> {
  try {
    // If the check never returns, this shows the other side whose it was.
    Atomics.store(progress, 0, id);
    const promise = check(identity);
    Atomics.store(progress, 0, 0);
    return toAnswer(await promise);
  } catch (error) {
    Atomics.store(progress, 0, 0);
    return { kind: 'failed', reason: `it threw: ${messageOf(error)}` };
  }
}

function toAnswer(value: unknown): Answer {
  if (value === true) return { kind: 'allow' };
  if (value === false) return { kind: 'deny', reason: '' };
  const reason = typeof value === 'object' && value !== null && 'deny' in value ? value.deny : undefined;
  if (typeof reason === 'string') return { kind: 'deny', reason };
  return {
    kind: 'failed',
    reason: `it answered ${kindOf(value)}; only true, false or {deny: "…"} are answers`,
  };
}

function kindOf(value: unknown): string {
  return value === null ? 'null' : value === undefined ? 'nothing' : `a value of type ${typeof value}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : `a value of type ${typeof error}`;
}
