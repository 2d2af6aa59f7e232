/** Looks at files: what the file system says of them, without reading them. */
import { type Stats, stat } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { orElse } from '../../process/or-else.ts';
import { urlOf } from '../../process/own-files.ts';
import { version } from '../../process/version.ts';
import { type FileState, type FileStates, stateOf, writeStates } from '../read/file-state.ts';
import type { LookRequest } from './look-thread.ts';

export type Looker = {
  /** Resolves when each of them has been looked at: never, if one never answers. */
  readonly look: (files: readonly string[]) => Promise<FileStates>;
  /** Resolves when nothing is being looked at. */
  readonly close: () => Promise<unknown>;
};

/**
 * Looks by a thread if there are many files. There one costs 3 µs, and here ten times as much, since it must
 * not wait for any of them.
 */
export function createLooker(): Looker {
  let aside: Aside | undefined;
  let isPossible = true;
  return {
    async look(files) {
      if (files.length < many || !isPossible) return lookHere(files);
      aside ??= orElse(undefined, () => new Aside());
      const states = await aside?.look(files);
      if (states === undefined) isPossible = false;
      return states ?? lookHere(files);
    },
    close: async () => aside?.close(),
  };
}

const many = 500;

class Aside {
  readonly #thread = new Worker(urlOf('look-thread'), { workerData: version });
  /** In the order in which they were asked. */
  readonly #waiting: ((states: FileStates | undefined) => void)[] = [];
  #sent: readonly string[] | undefined;
  #hasEnded = false;

  constructor() {
    const end = () => {
      this.#hasEnded = true;
      for (const answer of this.#waiting.splice(0)) answer(undefined);
    };
    this.#thread.on('message', (states: FileStates) => this.#waiting.shift()?.(states));
    this.#thread.on('error', end).on('exit', end).unref();
  }

  /** undefined if the thread could not run. */
  look(files: readonly string[]): Promise<FileStates | undefined> {
    if (this.#hasEnded) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      const request: LookRequest = files === this.#sent ? undefined : files.join('\0');
      this.#sent = files;
      this.#thread.postMessage(request);
    });
  }

  close(): Promise<unknown> {
    return this.#thread.terminate();
  }
}

async function lookHere(files: readonly string[]): Promise<FileStates> {
  const found: FileState[] = [];
  const rest = files.entries();
  async function lookAtSome(): Promise<void> {
    for (const [at, file] of rest) found[at] = stateOf(await statsOf(file));
  }
  // To begin with all of them at once would stall the process.
  await Promise.all(Array.from({ length: lookedAtAtOnce }, lookAtSome));
  return writeStates(files.length, (at) => found[at] ?? stateOf(undefined));
}

/** By a callback, which costs a quarter of what `fs/promises` does. */
function statsOf(file: string): Promise<Stats | undefined> {
  return new Promise((resolve) => {
    stat(file, (error, found) => resolve(error ? undefined : found));
  });
}

const lookedAtAtOnce = 32;
