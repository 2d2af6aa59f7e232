/**
 * Notices that files have changed: written in place, replaced by rename, or behind a symlink that was
 * swapped.
 */
import { type FSWatcher, watch as fsWatch, stat } from 'node:fs';
import { dirname } from 'node:path';

export type Watcher = {
  /** Watches these files from now on. Those already watched are still compared with their state at `mark`. */
  readonly setFiles: (files: readonly string[]) => Promise<void>;
  /** To be called just before the files are read: any difference from now on is a change. */
  readonly mark: () => Promise<void>;
  /** Whether a file differs from its state at `mark`. */
  readonly hasChanged: () => Promise<boolean>;
  /** The state of the files now, as one text that is the same only if nothing has changed. */
  readonly state: () => Promise<string>;
  readonly close: () => void;
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
  let files: readonly string[] = [];
  let seen = new Map<string, string>();
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
    const [watched, before] = [files, seen];
    const now = await fingerprints(watched);
    return watched === files && before === seen && watched.some((file) => now.get(file) !== seen.get(file));
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
    state: async () => JSON.stringify([...(await fingerprints(files))]),
    async mark() {
      seen = await fingerprints(files);
    },
    async setFiles(next) {
      seen = new Map([...(await fingerprints(next.filter((file) => !seen.has(file)))), ...seen]);
      if (closed) return;
      files = next;
      for (const watcher of watchers) watcher.close();
      watchers = [...new Set(next.map((file) => dirname(file)))].flatMap((directory) =>
        watchDirectory(directory, settle),
      );
      // Notices changes since they were read.
      settle();
    },
    close() {
      closed = true;
      clearTimeout(poll);
      clearTimeout(settling);
      for (const watcher of watchers) watcher.close();
    },
  };
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

async function fingerprints(files: readonly string[]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const rest = files.values();
  async function lookAtSome(): Promise<void> {
    for (const file of rest) found.set(file, await fingerprint(file));
  }
  // To begin with all of 20,000 files at once would stall the process.
  await Promise.all(Array.from({ length: lookedAtAtOnce }, lookAtSome));
  return found;
}

/** By a callback, which costs a quarter of what `fs/promises` does. */
function fingerprint(file: string): Promise<string> {
  return new Promise((resolve) => {
    stat(file, (error, found) => {
      if (error) return resolve('missing');
      // The modification time can be set back (`cp -p`), but the inode's change time cannot.
      const { ino, size, mtimeMs, ctimeMs } = found;
      resolve(`${ino} ${size} ${mtimeMs} ${ctimeMs}`);
    });
  });
}

const lookedAtAtOnce = 32;
