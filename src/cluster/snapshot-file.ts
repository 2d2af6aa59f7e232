/**
 * What was served last, on disk and sealed: a restart without etcd serves it. It is written after what it is
 * about is served, in small parts and with pauses, so that a change of one object among thousands does not
 * wait for it.
 */
import { randomBytes } from 'node:crypto';
import { open, readFile, rename, unlink } from 'node:fs/promises';
import type { Seal } from './seal.ts';

/** Where it is, and what it is sealed for. */
export type SnapshotPlace = { readonly file: string; readonly place: string };

/** Between two writes: a moment (ms), or so many times as long as the last one took. */
const rest = { leastMs: 1000, times: 20 } as const;
/** In characters: what is sealed and written at once. */
const partSize = 65_536;

export class SnapshotFile {
  readonly #at: SnapshotPlace;
  readonly #seal: () => Seal;
  readonly #onFailure: (error: unknown) => void;
  #due: (() => Iterable<string>) | undefined;
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #restsUntil = 0;

  constructor(at: SnapshotPlace, seal: () => Seal, onFailure: (error: unknown) => void) {
    this.#at = at;
    this.#seal = seal;
    this.#onFailure = onFailure;
  }

  /** To be called when something else is served, with its lines. Nothing waits for it. */
  keep(lines: () => Iterable<string>): void {
    this.#due = lines;
    this.#writeSoon();
  }

  /** Resolves when everything is written. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#writing;
    clearTimeout(this.#timer);
    await this.#write();
  }

  #writeSoon(): void {
    if (this.#writing !== undefined || this.#due === undefined) return;
    clearTimeout(this.#timer);
    const wait = Math.max(0, this.#restsUntil - performance.now());
    this.#timer = setTimeout(() => void this.#write(), wait).unref();
  }

  #write(): Promise<void> {
    const lines = this.#due;
    if (lines === undefined) return Promise.resolve();
    this.#due = undefined;
    const begun = performance.now();
    const { file, place } = this.#at;
    this.#writing = replaceFile(file, this.#seal().sealParts(partsOf(lines), place))
      .catch(this.#onFailure)
      .finally(() => {
        const now = performance.now();
        this.#restsUntil = now + Math.max(rest.leastMs, rest.times * (now - begun));
        this.#writing = undefined;
        this.#writeSoon();
      });
    return this.#writing;
  }
}

/** Its lines; undefined if there is none. Rejects if it cannot be read or opened. */
export async function readSnapshotFile(
  { file, place }: SnapshotPlace,
  seal: Seal,
): Promise<readonly string[] | undefined> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  return text === undefined ? undefined : seal.open(text, place).toString().trimEnd().split('\n');
}

function* partsOf(lines: () => Iterable<string>): Generator<string> {
  let part = '';
  for (const line of lines()) {
    part += `${line}\n`;
    if (part.length < partSize) continue;
    yield part;
    part = '';
  }
  yield part;
}

/** As a whole, so that a crash leaves the earlier one. */
async function replaceFile(file: string, parts: Iterable<string>): Promise<void> {
  const made = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    const handle = await open(made, 'wx', 0o600);
    try {
      for (const part of parts) await handle.write(part);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(made, file);
  } catch (error) {
    await unlink(made).catch(() => {});
    throw error;
  }
}
