/** APISIX's objects as its etcd has them. */
import { ProxyError } from '../../errors.ts';
import type { Etcd, KeyValue } from '../etcd/etcd.ts';
import { lastWrittenAt, put, remove } from '../etcd/messages.ts';
import type { Copy } from '../follow.ts';
import { troubleWithForm } from '../form.ts';
import type { Change, Store } from '../store.ts';
import { encrypted, type Keyring, opened } from './keyring.ts';
import { type Fields, isFields, isId, isKind, keyOf, type State, type StoredObject } from './objects.ts';

/** Node's timers are late by a millisecond or two; a person does not notice 30 ms. */
const quietMs = 30;
const longestMs = 250;
/** How long a change that was written may take to come back from etcd. */
const seenMs = 5000;

export type EtcdObjectsParts = {
  readonly etcd: Pick<Etcd, 'txn'>;
  /** Ends in a slash. */
  readonly prefix: string;
  readonly keyring: Keyring;
  readonly copy: () => Copy | undefined;
  /** What was served before, if that is known. */
  readonly baseline: State | undefined;
};

export type Vanished = { readonly before: number; readonly now: number };

/** States are made of changes that have paused. One without most of the objects has to be let in. */
export class EtcdObjects implements Store {
  readonly name: string;
  readonly #parts: EtcdObjectsParts;
  #state: State;
  #vanished: Vanished | undefined;
  #onChange = () => {};
  #timer: NodeJS.Timeout | undefined;
  #since: number | undefined;
  /** Revisions that were written here, and who waits until they have come back. */
  #written = new Map<number, () => void>();
  /** Objects by the entries that they were parsed from, so that each is parsed once. */
  #parsed = new Map<KeyValue, StoredObject | undefined>();

  constructor(parts: EtcdObjectsParts) {
    this.name = parts.prefix;
    this.#parts = parts;
    this.#state = parts.baseline ?? { revision: 0, objects: new Map() };
  }

  state = (): State => this.#state;

  watch = (onChange: () => void): void => {
    this.#onChange = onChange;
  };

  async close(): Promise<void> {
    clearTimeout(this.#timer);
  }

  async write({ kind, id, value, expected }: Change): Promise<State | undefined> {
    const { etcd, prefix, keyring } = this.#parts;
    if (this.#vanished) {
      const message = 'most objects have vanished from etcd, and the earlier ones are served';
      const hint = 'ask for a reload first, which lets the newer state in';
      throw new ProxyError('ERR_CLUSTER', { side: 'upstream', message, hint });
    }
    const key = `${prefix}${kind}/${id}`;
    const operation =
      value === undefined ? remove(key) : put(key, JSON.stringify(encrypted(kind, value, keyring)));
    const { succeeded, revision } = await etcd.txn([lastWrittenAt(key, expected)], [operation]);
    if (!succeeded) return undefined;
    await this.#seen(revision);
    return this.#state;
  }

  /** Why a newer state is not served. */
  get vanished(): Vanished | undefined {
    return this.#vanished;
  }

  /** To be called when the copy has changed. */
  changed(): void {
    const revision = this.#parts.copy()?.revision ?? 0;
    const isAwaited = [...this.#written.keys()].some((written) => written <= revision);
    const now = performance.now();
    this.#since ??= now;
    clearTimeout(this.#timer);
    const wait = isAwaited ? 0 : Math.max(0, Math.min(quietMs, this.#since + longestMs - now));
    this.#timer = setTimeout(() => this.settle(false), wait).unref();
  }

  /** With `anyway`, even if most objects are gone. */
  settle(anyway: boolean): void {
    clearTimeout(this.#timer);
    this.#since = undefined;
    const copy = this.#parts.copy();
    if (copy === undefined) return;
    const objects = this.#objectsIn(copy);
    const [before, now] = [this.#state.objects.size, objects.size];
    // Whoever deletes a single object means it.
    const isEmptied = now < before / 2 && now < before - 1;
    this.#vanished = isEmptied && !anyway ? { before, now } : undefined;
    if (this.#vanished === undefined) this.#state = { revision: copy.revision, objects };
    for (const [revision, resolve] of this.#written) if (revision <= copy.revision) resolve();
    this.#onChange();
  }

  /** Resolves once the state has what was written at this revision. */
  async #seen(revision: number): Promise<void> {
    if ((this.#parts.copy()?.revision ?? 0) >= revision) return this.settle(false);
    let timer: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#written.set(revision, resolve);
        const message = `it is written at revision ${revision}, but etcd has not delivered it back`;
        timer = setTimeout(
          () => reject(new ProxyError('ERR_CLUSTER', { side: 'upstream', message })),
          seenMs,
        );
      });
    } finally {
      clearTimeout(timer);
      this.#written.delete(revision);
    }
  }

  /** In the order in which they were created. */
  #objectsIn({ entries }: Copy): Map<string, StoredObject> {
    const known = this.#parsed;
    this.#parsed = new Map();
    for (const entry of entries.values()) {
      this.#parsed.set(entry, known.has(entry) ? known.get(entry) : this.#parse(entry));
    }
    const objects = [...this.#parsed.values()].filter((one) => one !== undefined);
    objects.sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1));
    return new Map(objects.map((one) => [keyOf(one), one]));
  }

  /** undefined: it is of another kind. What is no JSON object is one that is faulty. */
  #parse({ key, value, createRevision, modRevision }: KeyValue): StoredObject | undefined {
    const [kind = '', id = '', ...below] = key.slice(this.#parts.prefix.length).split('/');
    // `DIRECTORY/` with the value "init_dir" only makes a directory.
    if (!isKind(kind) || !isId(id) || below.length > 0) return undefined;
    const fields = opened(kind, parsed(value.toString()), this.#parts.keyring);
    return { kind, id, value: fields, created: createRevision, modified: modRevision };
  }
}

function parsed(text: string): Fields {
  try {
    const value: unknown = JSON.parse(text);
    return isFields(value) && troubleWithForm(value) === undefined ? value : noObject;
  } catch {
    return noObject;
  }
}

/** No kind has such a field, though some would do without any. */
const noObject: Fields = { 'JSON object': null };
