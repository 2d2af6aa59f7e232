/**
 * Makes states that may be served of what happens in etcd: changes are collected until they pause, and none
 * is taken while a change of several transactions is under way, or when most objects vanish at once.
 */
import type { KeyValue } from './etcd/etcd.ts';
import type { Copy } from './follow.ts';
import type { Keys } from './keys.ts';
import type { Objects, Stored } from './load-state.ts';

/** The objects at one revision. */
export type Gathered = { readonly revision: number; readonly objects: Objects };

/** Why a newer state is not served. */
export type Alarm = { readonly revision: number; readonly reason: string };

/** Node's timers are late by a millisecond or two; a person does not notice 30 ms. */
const quiet = 30;
const longest = 250;
const format = '1';
/** The value of `accept` that a command writes along with what it deletes. */
export const meant = 'meant';

export class Gatherer {
  readonly #keys: Keys;
  readonly #copy: () => Copy | undefined;
  readonly #onState: () => void;
  #state: Gathered | undefined;
  #alarm: Alarm | undefined;
  /** When objects last changed, also by a deletion. */
  #changedAt = 0;
  /** The newest objects, and the keys that have changed since; undefined: all may have. */
  #objects: Objects = new Map();
  #stale: Set<string> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #since: number | undefined;

  /** `baseline` is what was served before; `onState` is called whenever `state` or `alarm` is another. */
  constructor(keys: Keys, copy: () => Copy | undefined, baseline: Gathered | undefined, onState: () => void) {
    this.#keys = keys;
    this.#copy = copy;
    this.#state = baseline;
    this.#onState = onState;
  }

  /** The newest that may be served. */
  get state(): Gathered | undefined {
    return this.#state;
  }

  get alarm(): Alarm | undefined {
    return this.#alarm;
  }

  /** To be called with the keys that have changed. */
  changed(keys: readonly string[], revision: number): void {
    const { config, accept, hold, format: formatKey } = this.#keys;
    const isFirst = this.#changedAt === 0;
    if (!isFirst) for (const key of keys) this.#stale?.add(key);
    if (isFirst || keys.some((key) => key.startsWith(config))) this.#changedAt = revision;
    else if (!keys.some((key) => key === accept || key === hold || key === formatKey)) return;
    const now = performance.now();
    this.#since ??= now;
    clearTimeout(this.#timer);
    const wait = Math.max(0, Math.min(quiet, this.#since + longest - now));
    this.#timer = setTimeout(() => this.#settle(), wait).unref();
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #settle(): void {
    this.#since = undefined;
    const copy = this.#copy();
    if (copy === undefined || copy.entries.has(this.#keys.hold)) return;
    const objects = this.#stale
      ? objectsWith(this.#objects, this.#stale, copy.entries, this.#keys)
      : objectsIn(copy.entries, this.#keys);
    this.#objects = objects;
    this.#stale = new Set();
    const reason = this.#whyNot(copy, objects);
    this.#alarm = reason === undefined ? undefined : { revision: this.#changedAt, reason };
    if (reason === undefined) this.#state = { revision: this.#changedAt, objects };
    this.#onState();
  }

  /** By whoever deleted the objects with a command, or by `penstock cluster accept`, up to a revision. */
  #isAccepted(accept: KeyValue | undefined): boolean {
    if (accept === undefined || accept.modRevision < this.#changedAt) return false;
    const value = accept.value.toString();
    return value === meant || Number(value) >= this.#changedAt;
  }

  #whyNot({ entries }: Copy, objects: Objects): string | undefined {
    const written = entries.get(this.#keys.format)?.value.toString();
    if (written !== undefined && written !== format) {
      return `the cluster has the format ${written}, and this penstock knows ${format} only`;
    }
    const before = this.#state?.objects.size ?? 0;
    if (before === 0 || this.#isAccepted(entries.get(this.#keys.accept))) return undefined;
    if (objects.size < before / 2) return `there were ${before} objects, and now there are ${objects.size}`;
    return written === undefined ? `the key ${this.#keys.format} has vanished` : undefined;
  }
}

function objectsIn(entries: ReadonlyMap<string, KeyValue>, { config }: Keys): Objects {
  const objects = new Map<string, Stored>();
  for (const entry of entries.values()) {
    if (entry.key.startsWith(config)) objects.set(entry.key.slice(config.length), storedOf(entry));
  }
  return objects;
}

/** Those of before, except where keys have changed. */
function objectsWith(
  before: Objects,
  changed: ReadonlySet<string>,
  entries: ReadonlyMap<string, KeyValue>,
  { config }: Keys,
): Objects {
  const objects = new Map(before);
  for (const key of changed) {
    if (!key.startsWith(config)) continue;
    const entry = entries.get(key);
    if (entry) objects.set(key.slice(config.length), storedOf(entry));
    else objects.delete(key.slice(config.length));
  }
  return objects;
}

/** An entry's is always the same, and what was read from it is known by that. */
const storedOfEntries = new WeakMap<KeyValue, Stored>();

function storedOf(entry: KeyValue): Stored {
  const known = storedOfEntries.get(entry);
  if (known) return known;
  const stored = { text: entry.value.toString(), revision: entry.modRevision };
  storedOfEntries.set(entry, stored);
  return stored;
}
