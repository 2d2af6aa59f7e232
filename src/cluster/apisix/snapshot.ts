/** What was served last, on disk and sealed: a restart without etcd serves it. */
import { randomBytes } from 'node:crypto';
import { readFile, rename, unlink, writeFile } from 'node:fs/promises';
import type { Seal } from '../seal.ts';
import { keyOf, type State, type StoredObject } from './objects.ts';

const place = 'snapshot of APISIX';

/** Replaces the file as a whole, so that a crash leaves the earlier one. */
export async function writeState(file: string, { revision, objects }: State, seal: Seal): Promise<void> {
  const text = JSON.stringify({ revision, objects: [...objects.values()] });
  const made = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    await writeFile(made, seal.seal(Buffer.from(text), place), { mode: 0o600, flag: 'wx' });
    await rename(made, file);
  } catch (error) {
    await unlink(made).catch(() => {});
    throw error;
  }
}

/** undefined if there is none, or it is of another layout. */
export async function readState(file: string, seal: Seal): Promise<State | undefined> {
  try {
    const text = seal.open(await readFile(file, 'utf8'), place).toString();
    const { revision, objects } = JSON.parse(text) as { revision: number; objects: StoredObject[] };
    return { revision, objects: new Map(objects.map((one) => [keyOf(one), one])) };
  } catch {
    return undefined;
  }
}
