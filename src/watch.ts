/** Notices that files have changed: written in place, replaced by rename, or behind a symlink that was swapped. */
import { type FSWatcher, watch as fsWatch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';

export type Watcher = {
  /** Watches these files from now on, as they are now. */
  readonly setFiles: (files: readonly string[]) => Promise<void>;
  readonly close: () => void;
};

/** Events come in bursts: a rename is several, and Kubernetes swaps one link for many files. */
const settleMs = 200;
/** For file systems that tell no events. */
const pollMs = 5000;

/**
 * Calls `onChange` when at least one of the files is another than before: its inode, size or modification time, following
 * symlinks, so that what they point at counts (Kubernetes swaps `..data`).
 */
export function createWatcher(onChange: () => void): Watcher {
  let files: readonly string[] = [];
  let seen = '';
  let watchers: FSWatcher[] = [];
  let settling: NodeJS.Timeout | undefined;
  const poll = setInterval(() => void look(), pollMs).unref();

  async function look(): Promise<void> {
    const watched = files;
    const now = await fingerprint(watched);
    if (watched !== files || now === seen) return;
    seen = now;
    onChange();
  }

  const onEvent = () => {
    clearTimeout(settling);
    settling = setTimeout(() => void look(), settleMs);
  };

  return {
    async setFiles(next) {
      files = next;
      seen = await fingerprint(next);
      for (const watcher of watchers) watcher.close();
      watchers = [...new Set(next.map((file) => dirname(file)))].flatMap((directory) =>
        watchDirectory(directory, onEvent),
      );
    },
    close() {
      clearInterval(poll);
      clearTimeout(settling);
      for (const watcher of watchers) watcher.close();
    },
  };
}

/** Directories, not files: a watch on a file follows its inode, and is lost with the first rename. */
function watchDirectory(directory: string, onEvent: () => void): FSWatcher[] {
  try {
    const watcher = fsWatch(directory, { persistent: false }, onEvent);
    // A directory that is removed ends its watch; polling goes on.
    watcher.on('error', () => watcher.close());
    return [watcher];
  } catch {
    return []; // not there now, or no watches left: polling will do
  }
}

async function fingerprint(files: readonly string[]): Promise<string> {
  const marks = await Promise.all(
    files.map((file) =>
      stat(file).then(
        ({ ino, size, mtimeMs }) => `${ino} ${size} ${mtimeMs}`,
        () => 'missing',
      ),
    ),
  );
  return marks.join('\n');
}
