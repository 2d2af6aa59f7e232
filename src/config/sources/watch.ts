/**
 * Notices that files have changed: written in place, replaced by rename, or behind a symlink that was
 * swapped.
 */
import { type FSWatcher, watch as fsWatch } from 'node:fs';
import { dirname } from 'node:path';
import type { Seen } from '../load-aside.ts';
import { areSameStates, copyState, emptyStates } from '../read/file-state.ts';
import { createLooker, type Looker } from './look.ts';

export type Watcher = {
  /** Watches these files from now on. Those already watched are still compared with their state at `mark`. */
  readonly setFiles: (files: readonly string[]) => Promise<void>;
  /**
   * To be called just before the files are read: any difference from now on is a change. Resolves with what
   * is seen of them.
   */
  readonly mark: () => Promise<Seen>;
  /** Whether a file differs from its state at `mark`. */
  readonly hasChanged: () => Promise<boolean>;
  /** The state of the files now, as one text that is the same only if nothing has changed. */
  readonly state: () => Promise<string>;
  /** Resolves when nothing is being looked at: never, if a file never answers. */
  readonly close: () => Promise<unknown>;
};

/** Events come in bursts: a rename is several, and Kubernetes swaps one link for many files. */
const settleMs = 200;
/** For file systems that report no events. */
const pollMs = 5000;

/**
 * Calls `onChange` when the inode, size or times of any file have changed. Follows symlinks, so that a change
 * of target counts (Kubernetes swaps `..data`). Repeats the call until `mark` is called.
 */
export function createWatcher(onChange: () => void): Watcher {
  const looker = createLooker();
  let seen: Seen = { files: [], states: emptyStates(0), at: Date.now() };
  let directories: ReadonlySet<string> = new Set();
  let watchers: FSWatcher[] = [];
  let settling: NodeJS.Timeout | undefined;
  let closed = false;
  let poll = setTimeout(pollAgain, pollMs).unref();

  async function pollAgain(): Promise<void> {
    const before = performance.now();
    await look();
    // Twenty thousand files take a while, and nobody waits for them.
    const pause = Math.max(pollMs, 20 * (performance.now() - before));
    if (!closed) poll = setTimeout(pollAgain, pause).unref();
  }

  async function hasChanged(): Promise<boolean> {
    const before = seen;
    const states = await looker.look(before.files);
    return before === seen && !areSameStates(states, before.states);
  }

  async function look(): Promise<void> {
    if (await hasChanged()) onChange();
  }

  const settle = () => {
    clearTimeout(settling);
    settling = setTimeout(() => void look(), settleMs);
  };

  return {
    hasChanged,
    state: async () => (await looker.look(seen.files)).join(),
    async mark() {
      const [{ files }, at] = [seen, Date.now()];
      const now = { files, states: await looker.look(files), at };
      if (files === seen.files) seen = now;
      return now;
    },
    async setFiles(next) {
      const now = await statesFor(next, seen, looker);
      if (closed) return;
      if (now.files !== seen.files) directories = new Set(next.map((file) => dirname(file)));
      seen = now;
      for (const watcher of watchers) watcher.close();
      watchers = [...directories].flatMap((directory) => watchDirectory(directory, settle));
      // Notices changes since they were read.
      settle();
    },
    close() {
      closed = true;
      clearTimeout(poll);
      clearTimeout(settling);
      for (const watcher of watchers) watcher.close();
      return looker.close();
    },
  };
}

/** Those seen before as they were then, others as they are now. */
async function statesFor(files: readonly string[], before: Seen, looker: Looker): Promise<Seen> {
  const { files: former, states, at: seenAt } = before;
  if (files.length === former.length && files.every((file, at) => file === former[at])) return before;
  const places = new Map(former.map((file, at) => [file, at]));
  const fresh = files.filter((file) => !places.has(file));
  const found = await looker.look(fresh);
  const now = emptyStates(files.length);
  let next = 0;
  for (const [at, file] of files.entries()) {
    const place = places.get(file);
    if (place === undefined) copyState(found, next++, now, at);
    else copyState(states, place, now, at);
  }
  return { files, states: now, at: seenAt };
}

/** Waits until no file has changed for `quietMs`, but not longer than `mostMs`. */
export async function untilQuiet(
  watcher: Pick<Watcher, 'state'>,
  { quietMs, mostMs }: { readonly quietMs: number; readonly mostMs: number },
): Promise<void> {
  const until = performance.now() + mostMs;
  let before = await watcher.state();
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, quietMs));
    const now = await watcher.state();
    if (now === before || performance.now() >= until) return;
    before = now;
  }
}

/**
 * Watches directories rather than files: a watch on a file follows its inode, and is lost at the first
 * rename.
 */
function watchDirectory(directory: string, onEvent: () => void): FSWatcher[] {
  try {
    const watcher = fsWatch(directory, { persistent: false }, onEvent);
    // A directory that is removed ends its watch; polling continues.
    watcher.on('error', () => watcher.close());
    return [watcher];
  } catch {
    return []; // not there now, or no watches left: polling will do
  }
}
