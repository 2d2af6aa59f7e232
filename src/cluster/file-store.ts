/**
 * Objects in a directory of this machine, a file each: `ssls/ID.json`. Everything is written beside its place
 * and renamed, so that whenever the process is killed there is the old object or the new one. With a seal,
 * private keys lie there sealed.
 */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ProxyError, systemCode } from '../errors.ts';
import { createTurns } from '../process/turns.ts';
import {
  type Fields,
  isFields,
  isId,
  type Kind,
  keyOf,
  kinds,
  type State,
  type StoredObject,
  withKeys,
} from './apisix/objects.ts';
import type { Seal } from './seal.ts';
import type { Change, Store } from './store.ts';

/**
 * Seals keys that are not sealed yet, or by an earlier secret. Rejects with a ProxyError (ERR_STORE) that
 * names the file if one cannot be read or opened.
 */
export async function openFileStore(directory: string, seal?: Seal): Promise<FileStore> {
  const keys = keysWith(seal);
  await prepare(directory);
  const { state, toSeal } = await readState(directory, keys);
  for (const object of toSeal) await writeObject(directory, object, keys);
  return new FileStore(directory, state, keys);
}

/** What another process keeps there, now; changes nothing. Rejects as `openFileStore` does. */
export async function readFileStore(directory: string, seal?: Seal): Promise<State> {
  return (await readState(directory, keysWith(seal))).state;
}

export class FileStore implements Store {
  readonly name: string;
  #state: State;
  readonly #inTurn = createTurns(() => {});
  #keys: StoredKeys;
  #onChange = () => {};

  constructor(directory: string, state: State, keys: StoredKeys) {
    this.name = directory;
    this.#state = state;
    this.#keys = keys;
  }

  state = (): State => this.#state;

  watch = (onChange: () => void): void => {
    this.#onChange = onChange;
  };

  write = (change: Change): Promise<State | undefined> => this.#inTurn(() => this.#write(change));

  close = (): Promise<void> => this.#inTurn(async () => {});

  /** Seals all keys with these secrets, unless they are the same as before. */
  reseal = (seal: Seal | undefined): Promise<void> =>
    this.#inTurn(async () => {
      if (seal?.id === this.#keys.sealId) return;
      this.#keys = keysWith(seal);
      for (const object of this.#state.objects.values()) {
        if (this.#keys.isDue(object)) await writeObject(this.name, object, this.#keys);
      }
    });

  async #write(change: Change): Promise<State | undefined> {
    const { kind, id, value } = change;
    const current = this.#state.objects.get(keyOf(change));
    if ((current?.modified ?? 0) !== change.expected) return undefined;
    const revision = this.#state.revision + 1;
    const objects = new Map(this.#state.objects);
    if (value === undefined) {
      // First, so that a later object never gets a revision that this one had.
      await durable(join(this.name, revisionFile), `${revision}\n`);
      const file = fileOf(this.name, kind, id);
      await rm(file).catch((error: unknown) => {
        throw storeError(`${file} cannot be deleted`, error);
      });
      await syncDirectory(join(this.name, kind));
      objects.delete(keyOf(change));
    } else {
      const object = { kind, id, value, created: current?.created ?? revision, modified: revision };
      await writeObject(this.name, object, this.#keys);
      objects.set(keyOf(change), object);
    }
    this.#state = { revision, objects };
    this.#onChange();
    return this.#state;
  }
}

function writeObject(directory: string, object: StoredObject, keys: StoredKeys): Promise<void> {
  const written = { format, ...object, value: keys.sealed(object) };
  return durable(fileOf(directory, object.kind, object.id), `${JSON.stringify(written, null, 1)}\n`);
}

async function durable(file: string, text: string): Promise<void> {
  try {
    await replaceFile(file, text);
  } catch (error) {
    throw storeError(`${file} cannot be written`, error);
  }
}

/** How private keys lie in the files. */
type StoredKeys = {
  readonly sealId: string | undefined;
  readonly sealed: (object: StoredObject) => Fields;
  /** Throws an Error that says what is wrong. */
  readonly opened: (object: StoredObject) => Fields;
  /** Whether they do not lie there as they should. */
  readonly isDue: (object: StoredObject) => boolean;
};

const mark = 'sealed:';

function keysWith(seal: Seal | undefined): StoredKeys {
  const change = (object: StoredObject, how: (text: string, place: string) => string) =>
    withKeys(object.kind, object.value, (text) => how(text, `store ${keyOf(object)}`));
  return {
    sealId: seal?.id,
    sealed: (object) =>
      seal === undefined
        ? object.value
        : change(object, (text, place) => mark + seal.seal(Buffer.from(text), place)),
    opened: (object) =>
      change(object, (text, place) => {
        if (!text.startsWith(mark)) return text;
        if (seal === undefined) throw new Error('its keys are sealed, and there is no admin_api.seal');
        return seal.open(text.slice(mark.length), place).toString();
      }),
    isDue(object) {
      let isDue = false;
      change(object, (text) => {
        if (seal && !(text.startsWith(mark) && seal.isLatest(text.slice(mark.length)))) isDue = true;
        return text;
      });
      return isDue;
    },
  };
}

const format = 1;
const revisionFile = 'revision';
const unfinished = '.new';

function fileOf(directory: string, kind: Kind, id: string): string {
  return join(directory, kind, `${id}.json`);
}

/** Makes the directory, and removes what was not finished. */
async function prepare(directory: string): Promise<void> {
  try {
    for (const kind of kinds) {
      const folder = join(directory, kind);
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const names = (await readdir(folder)).filter((name) => name.endsWith(unfinished));
      for (const name of names) await rm(join(folder, name), { force: true });
    }
  } catch (error) {
    throw storeError(`${directory} cannot be made`, error);
  }
}

/** `toSeal` are those whose keys do not lie there as they should. */
async function readState(
  directory: string,
  keys: StoredKeys,
): Promise<{ state: State; toSeal: readonly StoredObject[] }> {
  const lying: StoredObject[] = [];
  for (const kind of kinds) lying.push(...(await readKind(directory, kind)));
  const found = lying.map((object) => openedObject(directory, object, keys));
  const written = Number(await readFile(join(directory, revisionFile), 'utf8').catch(() => '0'));
  const revision = Math.max(written || 0, ...found.map(({ modified }) => modified));
  found.sort((a, b) => a.created - b.created);
  const objects = new Map(found.map((one) => [keyOf(one), one]));
  const due = new Set(lying.filter(keys.isDue).map(keyOf));
  return { state: { revision, objects }, toSeal: found.filter((one) => due.has(keyOf(one))) };
}

function openedObject(directory: string, object: StoredObject, keys: StoredKeys): StoredObject {
  try {
    return { ...object, value: keys.opened(object) };
  } catch (error) {
    const file = fileOf(directory, object.kind, object.id);
    const message = `${file} cannot be opened: ${(error as Error).message}`;
    throw new ProxyError('ERR_STORE', { side: 'proxy', message, cause: error });
  }
}

async function readKind(directory: string, kind: Kind): Promise<StoredObject[]> {
  const found: StoredObject[] = [];
  const folder = join(directory, kind);
  const names = await readdir(folder).catch((error: unknown) => {
    throw storeError(`${folder} cannot be read`, error);
  });
  for (const name of names) {
    if (name.endsWith('.json')) found.push(await readObject(join(folder, name), kind));
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
