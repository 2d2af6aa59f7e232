/** What was served last, on disk and sealed: a restart without etcd serves it. */
import { randomBytes } from 'node:crypto';
import { readFile, rename, unlink, writeFile } from 'node:fs/promises';
import type { Gathered } from './gather.ts';
import type { Objects, Stored } from './load-state.ts';
import type { Seal } from './seal.ts';

export type Snapshot = Gathered & {
  readonly lastValid: Objects;
  /** The value of `tickets`, whose masters are sealed once more. */
  readonly tickets: string | undefined;
};

type Written = {
  readonly revision: number;
  readonly objects: readonly (readonly [string, Stored])[];
  readonly lastValid: readonly (readonly [string, Stored])[];
  readonly tickets?: string | undefined;
};

/** Replaces the file as a whole, so that a crash leaves the earlier one. */
export async function writeSnapshot(
  file: string,
  snapshot: Snapshot,
  seal: Seal,
  root: string,
): Promise<void> {
  const { revision, objects, lastValid, tickets } = snapshot;
  const written: Written = { revision, objects: [...objects], lastValid: [...lastValid], tickets };
  const made = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    await writeFile(made, seal.seal(Buffer.from(JSON.stringify(written)), placeOf(root)), {
      mode: 0o600,
      flag: 'wx',
    });
    await rename(made, file);
  } catch (error) {
    await unlink(made).catch(() => {});
    throw error;
  }
}

/** undefined if there is none. Rejects if it cannot be read or opened. */
export async function readSnapshot(file: string, seal: Seal, root: string): Promise<Snapshot | undefined> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  const written = JSON.parse(seal.open(text, placeOf(root)).toString()) as Written;
  const { revision, tickets } = written;
  return { revision, objects: new Map(written.objects), lastValid: new Map(written.lastValid), tickets };
}

function placeOf(root: string): string {
  return `snapshot of ${root}`;
}
