/**
 * Loads a configuration in a separate thread: a hundred thousand names take seconds, during which this thread
 * must answer others.
 */
import { deserialize } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { orElse } from '../process/or-else.ts';
import { urlOf } from '../process/own-files.ts';
import { inSlices } from '../process/pacer.ts';
import { version } from '../process/version.ts';
import { ConfigError, type ConfigText, loadText } from './load.ts';
import type { LoadAnswer } from './load-thread.ts';
import { type Contents, unpackPieces } from './pieces.ts';
import { type PackedConfig, type SendableConfig, toSend, unpackConfig } from './transfer.ts';

/** Like `loadText`, which it falls back to if no thread can be started, or the code on disk has changed. */
export async function loadAside(text: ConfigText): Promise<SendableConfig> {
  const thread = takeThread();
  const answer = thread && (await ask(thread, text));
  if (stopped) throw new Error('penstock is stopping');
  if (answer === undefined) return inSlices(toSend(await loadText(text)));
  if (answer.kind === 'faulty') throw new ConfigError(answer.findings);
  const packed = deserialize(answer.packed) as PackedConfig;
  const objects = answer.pieces.filter(({ kind }) => kind === 'objects');
  const fresh = new Map(objects.map((piece) => [piece.id, piece]));
  unpacked = await inSlices(unpackPieces([...fresh.keys()], fresh, unpacked));
  const loaded = await inSlices(unpackConfig(packed, unpacked));
  return { ...loaded, pieces: answer.pieces };
}

/** What the last configuration consisted of: objects that did not change stay the same. */
let unpacked: Contents = new Map();

/** Stops loading. Resolves when the loading threads have ended; one that waits for a file may never end. */
export async function stopLoading(): Promise<void> {
  stopped = true;
  await Promise.all([...loading].map((thread) => thread.terminate()));
}

let stopped = false;
const loading = new Set<Worker>();

/**
 * Keeps an idle thread this long: reloads come in bursts, and most configurations load faster than a thread
 * starts.
 */
const idleMs = 10_000;
/**
 * A thread remembers what it has loaded, which saves seconds if the file is large: it is kept longer then.
 */
const largeBytes = 256 * 1024;
const largeIdleMs = 600_000;
let idle: { readonly thread: Worker; readonly timer: NodeJS.Timeout } | undefined;

function takeThread(): Worker | undefined {
  if (idle === undefined)
    return orElse(undefined, () => new Worker(urlOf('load-thread'), { workerData: version }));
  const { thread, timer } = idle;
  idle = undefined;
  clearTimeout(timer);
  thread.ref();
  return thread;
}

function keep(thread: Worker, ms: number): void {
  if (idle !== undefined) return void thread.terminate();
  const end = () => {
    if (idle?.thread === thread) idle = undefined;
    void thread.terminate();
  };
  thread.once('error', end).once('exit', end).unref();
  idle = { thread, timer: setTimeout(end, ms).unref() };
}

/** undefined if the thread could not run. Rejects if it ran out of memory, as this thread then would too. */
function ask(thread: Worker, text: ConfigText): Promise<LoadAnswer | undefined> {
  loading.add(thread);
  const answered = new Promise<LoadAnswer | undefined>((resolve, reject) => {
    thread.removeAllListeners();
    thread.once('message', (answer: LoadAnswer) => {
      thread.removeAllListeners();
      keep(thread, text.text.byteLength > largeBytes ? largeIdleMs : idleMs);
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
