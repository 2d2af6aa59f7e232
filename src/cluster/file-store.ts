/**
 * Objects in a directory of this machine, a file each: `ssls/ID.json`. Everything is written beside its place
 * and renamed, so that whenever the process is killed there is the old object or the new one.
 */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ProxyError, systemCode } from '../errors.ts';
import { createTurns } from '../process/turns.ts';
import { isFields, isId, type Kind, keyOf, kinds, type State, type StoredObject } from './apisix/objects.ts';
import type { Change, Store } from './store.ts';

/** Rejects with a ProxyError (ERR_STORE) that names the file if one cannot be read. */
export async function openFileStore(directory: string): Promise<Store> {
  const state = await readState(directory);
  return new FileStore(directory, state);
}

class FileStore implements Store {
  readonly name: string;
  #state: State;
  readonly #inTurn = createTurns(() => {});
  #onChange = () => {};

  constructor(directory: string, state: State) {
    this.name = directory;
    this.#state = state;
  }

  state = (): State => this.#state;

  watch = (onChange: () => void): void => {
    this.#onChange = onChange;
  };

  write = (change: Change): Promise<State | undefined> => this.#inTurn(() => this.#write(change));

  close = (): Promise<void> => this.#inTurn(async () => {});

  async #write(change: Change): Promise<State | undefined> {
    const { kind, id, value } = change;
    const current = this.#state.objects.get(keyOf(change));
    if ((current?.modified ?? 0) !== change.expected) return undefined;
    const revision = this.#state.revision + 1;
    const file = fileOf(this.name, kind, id);
    const objects = new Map(this.#state.objects);
    if (value === undefined) {
      // First, so that a later object never gets a revision that this one had.
      await this.#durable(join(this.name, revisionFile), `${revision}\n`);
      await rm(file).catch((error: unknown) => {
        throw storeError(`${file} cannot be deleted`, error);
      });
      await syncDirectory(join(this.name, kind));
      objects.delete(keyOf(change));
    } else {
      const object = { kind, id, value, created: current?.created ?? revision, modified: revision };
      await this.#durable(file, `${JSON.stringify({ format, ...object }, null, 1)}\n`);
      objects.set(keyOf(change), object);
    }
    this.#state = { revision, objects };
    this.#onChange();
    return this.#state;
  }

  async #durable(file: string, text: string): Promise<void> {
    try {
      await replaceFile(file, text);
    } catch (error) {
      throw storeError(`${file} cannot be written`, error);
    }
  }
}

const format = 1;
const revisionFile = 'revision';
const unfinished = '.new';

function fileOf(directory: string, kind: Kind, id: string): string {
  return join(directory, kind, `${id}.json`);
}

async function readState(directory: string): Promise<State> {
  try {
    for (const kind of kinds) await mkdir(join(directory, kind), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw storeError(`${directory} cannot be made`, error);
  }
  const found: StoredObject[] = [];
  for (const kind of kinds) found.push(...(await readKind(directory, kind)));
  const written = Number(await readFile(join(directory, revisionFile), 'utf8').catch(() => '0'));
  const revision = Math.max(written || 0, ...found.map(({ modified }) => modified));
  found.sort((a, b) => a.created - b.created);
  return { revision, objects: new Map(found.map((one) => [keyOf(one), one])) };
}

async function readKind(directory: string, kind: Kind): Promise<StoredObject[]> {
  const found: StoredObject[] = [];
  const folder = join(directory, kind);
  const names = await readdir(folder).catch((error: unknown) => {
    throw storeError(`${folder} cannot be read`, error);
  });
  for (const name of names) {
    const file = join(folder, name);
    if (name.endsWith(unfinished)) await rm(file, { force: true });
    else if (name.endsWith('.json')) found.push(await readObject(file, kind));
  }
  return found;
}

/** Without an object clients might be admitted to a less specific route, so a faulty one ends the start. */
async function readObject(file: string, kind: Kind): Promise<StoredObject> {
  const id = basename(file, '.json');
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw storeError(`${file} cannot be read`, error);
  });
  const { format: written, value, created, modified } = parsed(text);
  if (written !== format || !isId(id) || !isFields(value)) {
    const hint = 'restore it from a backup, or move it away; then what it was for is no longer served';
    throw new ProxyError('ERR_STORE', {
      side: 'proxy',
      message: `${file} holds no object of penstock`,
      hint,
    });
  }
  return { kind, id, value, created: Number(created) || 1, modified: Number(modified) || 1 };
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return isFields(value) ? value : {};
  } catch {
    return {};
  }
}

/** Only the owner can read it: objects contain private keys. */
async function replaceFile(file: string, text: string): Promise<void> {
  const beside = `${file}${unfinished}`;
  const handle = await open(beside, 'w', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(beside, file);
  await syncDirectory(join(file, '..'));
}

/** A rename outlasts a power cut only once its directory is on disk. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  await handle.sync().finally(() => handle.close());
}

function storeError(what: string, cause: unknown): ProxyError {
  return new ProxyError('ERR_STORE', { side: 'proxy', message: `${what} (${systemCode(cause)})`, cause });
}
