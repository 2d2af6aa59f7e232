/** Loads a configuration in a thread of its own: a hundred thousand names take seconds, in which this one has others to answer. */
import { deserialize } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { orElse } from '../process/or-else.ts';
import { inSlices } from '../process/pacer.ts';
import { version } from '../process/version.ts';
import { ConfigError, type ConfigText, loadText } from './load.ts';
import type { LoadAnswer } from './load-thread.ts';
import { type PackedConfig, type SendableConfig, toSend, unpackConfig } from './transfer.ts';

/** As `loadText`, which does it here and now where there is no thread for it, or none with this same code. */
export async function loadAside(text: ConfigText): Promise<SendableConfig> {
  const thread = takeThread();
  const answer = thread && (await ask(thread, text));
  if (stopped) throw new Error('penstock is stopping');
  if (answer === undefined) return inSlices(toSend(await loadText(text)));
  if (answer.kind === 'faulty') throw new ConfigError(answer.findings);
  const loaded = await inSlices(unpackConfig(deserialize(answer.packed) as PackedConfig));
  return { ...loaded, pieces: answer.pieces };
}

/** Nothing is loaded any more. Resolves when the threads that load have ended: one that waits for a file may never do. */
export async function stopLoading(): Promise<void> {
  stopped = true;
  await Promise.all([...loading].map((thread) => thread.terminate()));
}

let stopped = false;
const loading = new Set<Worker>();

/** Reloads come in bursts, and a thread takes longer to start than most configurations to load. */
const idleMs = 10_000;
let idle: { readonly thread: Worker; readonly timer: NodeJS.Timeout } | undefined;

function takeThread(): Worker | undefined {
  if (idle === undefined) return orElse(undefined, () => new Worker(threadFile(), { workerData: version }));
  const { thread, timer } = idle;
  idle = undefined;
  clearTimeout(timer);
  thread.ref();
  return thread;
}

function keep(thread: Worker): void {
  if (idle !== undefined) return void thread.terminate();
  const end = () => {
    if (idle?.thread === thread) idle = undefined;
    void thread.terminate();
  };
  thread.once('error', end).once('exit', end).unref();
  idle = { thread, timer: setTimeout(end, idleMs).unref() };
}

/** undefined: it could not run. Rejects where it had too little memory, which this thread would not have either. */
function ask(thread: Worker, text: ConfigText): Promise<LoadAnswer | undefined> {
  loading.add(thread);
  const answered = new Promise<LoadAnswer | undefined>((resolve, reject) => {
    thread.removeAllListeners();
    thread.once('message', (answer: LoadAnswer) => {
      thread.removeAllListeners();
      keep(thread);
      resolve(answer);
    });
    thread.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ERR_WORKER_OUT_OF_MEMORY') reject(error);
      else resolve(undefined);
    });
    thread.once('exit', () => resolve(undefined));
    thread.postMessage(text);
  });
  return answered.finally(() => loading.delete(thread));
}

/** TypeScript in the checkout and JavaScript in the package, as this file is. */
function threadFile(): URL {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new URL(`./load-thread.${extension}`, import.meta.url);
}
