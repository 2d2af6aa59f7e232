/**
 * Loads a configuration in a separate thread: a hundred thousand names take seconds, during which this thread
 * must answer others. The thread remembers what it has loaded, so each of the two sends the other only what
 * has changed since the last time.
 */
import { deserialize } from 'node:v8';
import type { Worker } from 'node:worker_threads';
import { inSlices } from '../process/pacer.ts';
import { ConfigError, type ConfigText, loadText } from './load.ts';
import type { LoadAnswer, LoadRequest } from './load-thread.ts';
import { largeBytes, takeThread } from './loading-threads.ts';
import { type Contents, type Piece, unpackPieces } from './pieces.ts';
import type { FileStates } from './read/file-state.ts';
import { type PackedConfig, type SendableConfig, toSend, unpackConfig } from './transfer.ts';

/** What was seen of files before they are read, and when that began, in ms since 1970. */
export type Seen = {
  readonly files: readonly string[];
  readonly states: FileStates;
  readonly at: number;
};

/**
 * Like `loadText`, which it falls back to if no thread can be started, or the code on disk has changed. The
 * files in `seen` are not looked at again.
 */
export async function loadAside(text: ConfigText, seen?: Seen): Promise<SendableConfig> {
  const loader = takeLoader();
  const answer = loader && (await ask(loader, text, seen));
  if (stopped) throw new Error('penstock is stopping');
  if (loader === undefined || answer === undefined) return inSlices(toSend(await loadText(text)));
  if (answer.kind === 'faulty') throw new ConfigError(answer.findings);
  const packed = deserialize(answer.packed) as PackedConfig;
  const fresh = new Map(answer.pieces.map((piece) => [piece.id, piece]));
  const pieces = answer.ids.split(' ').flatMap((id) => fresh.get(id) ?? loader.pieces.get(id) ?? []);
  loader.pieces = new Map(pieces.map((piece) => [piece.id, piece]));
  loader.files = answer.files?.split('\0') ?? loader.files;
  const ids = pieces.flatMap(({ kind, id }) => (kind === 'objects' ? [id] : []));
  unpacked = await inSlices(unpackPieces(ids, loader.pieces, unpacked));
  const loaded = await inSlices(unpackConfig({ ...packed, files: loader.files }, unpacked));
  return { ...loaded, pieces };
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

/** A thread, and what it has sent and been sent. */
type Loader = {
  readonly thread: Worker;
  /** The objects of a store, by key. */
  objects: ReadonlyMap<string, unknown>;
  /** The files whose states it was sent last. */
  seen: readonly string[] | undefined;
  pieces: ReadonlyMap<string, Piece>;
  files: readonly string[];
};

/**
 * Keeps an idle thread this long: reloads come in bursts, and most configurations load faster than a thread
 * starts.
 */
const idleMs = 10_000;
/**
 * A thread remembers what it has loaded, which saves seconds if there is much of it: it is kept longer then.
 */
const manyObjects = 100;
const largeIdleMs = 600_000;
/** Whether it pays to remember it. */
export function isLarge({ text, adding }: ConfigText): boolean {
  return text.byteLength > largeBytes || (adding?.data.objects.size ?? 0) > manyObjects;
}

let idle: { readonly loader: Loader; readonly timer: NodeJS.Timeout } | undefined;

function takeLoader(): Loader | undefined {
  if (idle === undefined) {
    const thread = takeThread();
    return thread && { thread, objects: new Map(), seen: undefined, pieces: new Map(), files: [] };
  }
  const { loader, timer } = idle;
  idle = undefined;
  clearTimeout(timer);
  loader.thread.ref();
  return loader;
}

function keep(loader: Loader, ms: number): void {
  const { thread } = loader;
  if (idle !== undefined) return void thread.terminate();
  const end = () => {
    if (idle?.loader === loader) idle = undefined;
    void thread.terminate();
  };
  thread.once('error', end).once('exit', end).unref();
  idle = { loader, timer: setTimeout(end, ms).unref() };
}

/** undefined if the thread could not run. Rejects if it ran out of memory, as this thread then would too. */
function ask(loader: Loader, given: ConfigText, seen: Seen | undefined): Promise<LoadAnswer | undefined> {
  const { thread } = loader;
  loading.add(thread);
  const answered = new Promise<LoadAnswer | undefined>((resolve, reject) => {
    thread.removeAllListeners();
    thread.once('message', (answer: LoadAnswer) => {
      thread.removeAllListeners();
      keep(loader, isLarge(given) ? largeIdleMs : idleMs);
      resolve(answer);
    });
    thread.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ERR_WORKER_OUT_OF_MEMORY') reject(error);
      else resolve(undefined);
    });
    thread.once('exit', () => resolve(undefined));
    thread.postMessage({ ...requestFor(loader, given), ...lookedFor(loader, seen) });
  });
  return answered.finally(() => loading.delete(thread));
}

function requestFor(loader: Loader, { adding, ...text }: ConfigText): LoadRequest {
  if (adding === undefined) return { text };
  const { module, data } = adding;
  const { objects: before } = loader;
  const changed = [...data.objects].filter(([key, object]) => before.get(key) !== object);
  const gone = [...before.keys()].filter((key) => !data.objects.has(key));
  loader.objects = data.objects;
  return { text, adding: { module, faulty: data.faulty, changed, gone } };
}

function lookedFor(loader: Loader, seen: Seen | undefined): Pick<LoadRequest, 'looked'> {
  if (seen === undefined) return {};
  const { files, states, at } = seen;
  const names = files === loader.seen ? undefined : files.join('\0');
  loader.seen = files;
  return { looked: { files: names, states, at } };
}
