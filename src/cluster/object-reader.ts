/** Reads objects of etcd, each once: what is read from the same value, in the same way, is the same. */
import type { Finding } from '../config/finding.ts';
import { isMapping } from '../config/read/parted.ts';
import { routeMatch } from '../config/schema/listener-schema.ts';
import type { ObjectName } from './keys.ts';
import type { Stored } from './load-state.ts';
import {
  type ObjectContext,
  orderOf,
  type Part,
  parseObjectText,
  readObject,
  wholeObject,
} from './objects.ts';

type Read = Part | readonly Finding[];

export class ObjectReader {
  #modules = '';
  #seal: ObjectContext['seal'] | undefined;
  #parts = new WeakMap<Stored, Read>();
  readonly #refusals = new WeakMap<Stored, Read>();
  #base: unknown;
  #withBase = new WeakSet<Stored>();

  /** To be called first: the secrets and the modules of the machine are part of what is read. */
  begin(base: unknown, { seal, modules }: ObjectContext): void {
    if (base !== this.#base) this.#withBase = new WeakSet();
    this.#base = base;
    const text = JSON.stringify(modules);
    if (seal === this.#seal && text === this.#modules) return;
    [this.#seal, this.#modules] = [seal, text];
    this.#parts = new WeakMap();
  }

  /** What was read already, with the same file of the machine, and has no faults. */
  known(stored: Stored): Part | undefined {
    const known = this.#withBase.has(stored) ? this.#parts.get(stored) : undefined;
    return known && 'raw' in known ? known : undefined;
  }

  read(key: string, name: ObjectName, stored: Stored, context: ObjectContext): Read {
    const known = this.#parts.get(stored) ?? readObject(key, name, stored.text, context);
    this.#parts.set(stored, known);
    this.#withBase.add(stored);
    return known;
  }

  /** A route that refuses the clients of the one that is written, whatever else is wrong with that. */
  refusal(key: string, name: ObjectName, stored: Stored): Read {
    const known = this.#refusals.get(stored) ?? readRefusal(key, name, stored.text);
    this.#refusals.set(stored, known);
    return known;
  }
}

function readRefusal(key: string, name: ObjectName, text: string): Read {
  const { raw, locate } = parseObjectText(text);
  const match = isMapping(raw) ? readableMatch(raw) : undefined;
  if (!isMapping(raw) || match === undefined) return [wholeObject(key, 'nothing says whom it is for')];
  return {
    key,
    name,
    raw: { name: name.id, ...match, deny: 'held' },
    order: orderOf(raw) ?? 100,
    contents: new Map(),
    locate: (path, at) => ({ ...locate(path, at), file: key }),
  };
}

/**
 * The conditions of a route that can be read: for its names it refuses rather too many clients. undefined if
 * that would be clients of any name.
 */
function readableMatch(raw: Readonly<Record<string, unknown>>): Record<string, unknown> | undefined {
  const match: Record<string, unknown> = {};
  let isWhole = true;
  for (const [part, schema] of Object.entries(routeMatch.shape)) {
    const value = readable(raw[part], schema);
    if (value !== undefined) match[part] = value;
    else if (raw[part] !== undefined && part !== 'name') isWhole = false;
  }
  return isWhole || match['sni'] !== undefined ? match : undefined;
}

/** The value, or the entries of a list that can be read; a condition that cannot be is none. */
function readable(value: unknown, schema: { safeParse: (value: unknown) => { success: boolean } }): unknown {
  if (value === undefined || schema.safeParse(value).success) return value;
  const kept = Array.isArray(value) ? value.filter((one) => schema.safeParse(one).success) : [];
  return kept.length > 0 ? kept : undefined;
}
