/** The thread that reads and checks the configurations it is sent, one at a time. */

import { getPriority, setPriority } from 'node:os';
import { getHeapStatistics, serialize } from 'node:v8';
import { parentPort, workerData } from 'node:worker_threads';
import { freeMemory } from '../process/free-memory.ts';
import { orElse } from '../process/or-else.ts';
import { version } from '../process/version.ts';
import { ConfigError, type ConfigText, type Finding } from './load.ts';
import type { Piece } from './pieces.ts';
import { type FileState, type FileStates, isStateAt, type Looked, readState } from './read/file-state.ts';
import { RememberingLoader } from './remembering-loader.ts';
import { packConfig, type SendableConfig } from './transfer.ts';

export type LoadRequest = {
  readonly text: Omit<ConfigText, 'adding'>;
  /** What was seen of files, in the order of `files`. */
  readonly looked?: {
    /** Their names, with NULs between them; undefined if they are those of the last such request. */
    readonly files: string | undefined;
    readonly states: FileStates;
    readonly at: number;
  };
  /** How the objects of a store differ from those of the last request that had some. */
  readonly adding?: {
    readonly module: string;
    readonly faulty: readonly Finding[];
    readonly changed: readonly (readonly [key: string, object: unknown])[];
    readonly gone: readonly string[];
  };
};

export type LoadAnswer =
  | {
      readonly kind: 'loaded';
      /**
       * A PackedConfig from `v8.serialize`, since a thread's own messages would turn Buffers into plain
       * Uint8Arrays. Its list of files is empty.
       */
      readonly packed: Uint8Array<ArrayBuffer>;
      /** The ids of all pieces. One long text is sent and read faster than many short ones. */
      readonly ids: string;
      /** Those that the last such answer did not have. */
      readonly pieces: readonly Piece[];
      /** The list of files, with NULs between them; undefined if it is as in the last such answer. */
      readonly files: string | undefined;
    }
  | { readonly kind: 'faulty'; readonly findings: readonly Finding[] };

// The package may have been replaced since the process started, and the process must keep to the rules it
// started with.
if (workerData !== version) throw new Error(`penstock ${version} is on disk, ${workerData} is running`);

// On Linux, a thread's priority is its own: where a core is short, workers get three quarters of it.
// Elsewhere it would be that of the whole process.
if (process.platform === 'linux') orElse(undefined, () => setPriority(Math.min(getPriority() + 5, 19)));

parentPort?.on('message', async (request: LoadRequest) => {
  const answer = await load(request);
  const bytes =
    answer.kind === 'loaded' ? [answer.packed, ...answer.pieces.map(({ bytes: own }) => own)] : [];
  parentPort?.postMessage(
    answer,
    bytes.map(({ buffer }) => buffer),
  );
  passed += request.text.text.byteLength;
  if (loader.remembered > manyObjects) {
    clearTimeout(settling);
    settling = setTimeout(settle, 1000);
  }
});

const manyObjects = 5000;

/** What large configurations leave behind soon is more than what is remembered of them. */
let settling: NodeJS.Timeout | undefined;
let settledHeap = 0;
/** The texts since then, which V8 does not count: they are shared with the thread that has read them. */
let passed = 0;
const mostLeft = 32 * 2 ** 20;

function settle(): void {
  const grown = getHeapStatistics().total_heap_size - settledHeap;
  if (grown + passed <= mostLeft) return;
  freeMemory(Number.POSITIVE_INFINITY, grown > mostLeft ? 'last-resort' : 'regular');
  settledHeap = getHeapStatistics().total_heap_size;
  passed = 0;
}

const loader = new RememberingLoader();
const objects = new Map<string, unknown>();
let sent: { readonly ids: ReadonlySet<string>; readonly files: string } = { ids: new Set(), files: '' };

/** The places of those that were looked at. */
let places = new Map<string, number>();

async function load({ text, adding, looked }: LoadRequest): Promise<LoadAnswer> {
  try {
    const given = adding ? { ...text, adding: addingOf(adding) } : text;
    return answerWith(await loader.load(given, looked && lookedOf(looked)));
  } catch (error) {
    if (error instanceof ConfigError) return { kind: 'faulty', findings: error.findings };
    throw error;
  }
}

function lookedOf({ files, states, at }: NonNullable<LoadRequest['looked']>): Looked {
  if (files !== undefined) places = new Map(files.split('\0').map((file, place) => [file, place]));
  const stateOf = (file: string) => {
    const place = places.get(file);
    return place === undefined ? undefined : readState(states, place);
  };
  const isAs = (file: string, state: FileState) => {
    const place = places.get(file);
    return place === undefined ? undefined : isStateAt(states, place, state);
  };
  return { stateOf, isAs, at };
}

function addingOf({ module, faulty, changed, gone }: NonNullable<LoadRequest['adding']>) {
  for (const key of gone) objects.delete(key);
  for (const [key, object] of changed) objects.set(key, object);
  return { module, data: { objects, faulty } };
}

function answerWith(loaded: SendableConfig): LoadAnswer {
  const pieces = new Map(loaded.pieces.map((piece) => [piece.id, piece]));
  const ids = new Set(pieces.keys());
  const files = loaded.files.join('\0');
  const answer: LoadAnswer = {
    kind: 'loaded',
    // Copied into memory of its own, which can be transferred.
    packed: Uint8Array.from(serialize({ ...packConfig(loaded), files: [] })),
    ids: [...ids].join(' '),
    // What was sent before is no longer here.
    pieces: [...pieces.values()].filter(({ id }) => !sent.ids.has(id)),
    files: files === sent.files ? undefined : files,
  };
  sent = { ids, files };
  return answer;
}
