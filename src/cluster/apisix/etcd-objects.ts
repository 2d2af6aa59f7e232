/** APISIX's objects as its etcd has them, read and never written. */

import type { KeyValue } from '../etcd/etcd.ts';
import type { Copy } from '../follow.ts';
import { type Keyring, opened } from './keyring.ts';
import { type Fields, isFields, isId, isKind, keyOf, type State, type StoredObject } from './objects.ts';

/** Node's timers are late by a millisecond or two; a person does not notice 30 ms. */
const quietMs = 30;
const longestMs = 250;

export type Vanished = { readonly before: number; readonly now: number };

/** States are made of changes that have paused. One without most of the objects has to be let in. */
export class EtcdObjects {
  readonly name: string;
  readonly #prefix: string;
  readonly #keyring: Keyring;
  readonly #copy: () => Copy | undefined;
  #state: State;
  #vanished: Vanished | undefined;
  #onChange = () => {};
  #timer: NodeJS.Timeout | undefined;
  #since: number | undefined;
  /** Objects by the entries that they were parsed from, so that each is parsed once. */
  #parsed = new Map<KeyValue, StoredObject | undefined>();

  /** `baseline` is what was served before, if that is known. */
  constructor(prefix: string, keyring: Keyring, copy: () => Copy | undefined, baseline: State | undefined) {
    this.name = prefix;
    this.#prefix = prefix;
    this.#keyring = keyring;
    this.#copy = copy;
    this.#state = baseline ?? { revision: 0, objects: new Map() };
  }

  state = (): State => this.#state;

  watch = (onChange: () => void): void => {
    this.#onChange = onChange;
  };

  async close(): Promise<void> {
    clearTimeout(this.#timer);
  }

  /** Why a newer state is not served. */
  get vanished(): Vanished | undefined {
    return this.#vanished;
  }

  /** To be called when the copy has changed. */
  changed(): void {
    const now = performance.now();
    this.#since ??= now;
    clearTimeout(this.#timer);
    const wait = Math.max(0, Math.min(quietMs, this.#since + longestMs - now));
    this.#timer = setTimeout(() => this.settle(false), wait).unref();
  }

  /** With `anyway`, even if most objects are gone. */
  settle(anyway: boolean): void {
    this.#since = undefined;
    const copy = this.#copy();
    if (copy === undefined) return;
    const objects = this.#objectsIn(copy);
    const [before, now] = [this.#state.objects.size, objects.size];
    const isEmptied = before > 0 && now < before / 2;
    this.#vanished = isEmptied && !anyway ? { before, now } : undefined;
    if (this.#vanished === undefined) this.#state = { revision: copy.revision, objects };
    this.#onChange();
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

  /** undefined: it is of another kind. What is no JSON object is one without fields, which is a fault. */
  #parse({ key, value, createRevision, modRevision }: KeyValue): StoredObject | undefined {
    const [kind = '', id = '', ...below] = key.slice(this.#prefix.length).split('/');
    // `DIRECTORY/` with the value "init_dir" only makes a directory.
    if (!isKind(kind) || !isId(id) || below.length > 0) return undefined;
    const fields = opened(kind, parsed(value.toString()), this.#keyring);
    return { kind, id, value: fields, created: createRevision, modified: modRevision };
  }
}

function parsed(text: string): Fields {
  try {
    const value: unknown = JSON.parse(text);
    return isFields(value) ? value : {};
  } catch {
    return {};
  }
}
