/** Reads objects of etcd, each once: what is read from the same value, in the same way, is the same. */
import type { Finding } from '../config/finding.ts';
import type { ObjectName } from './keys.ts';
import type { Stored } from './load-state.ts';
import { type ObjectContext, type Part, readObject } from './objects.ts';

type Read = Part | readonly Finding[];

export class ObjectReader {
  #modules = '';
  #seal: ObjectContext['seal'] | undefined;
  #parts = new WeakMap<Stored, Read>();
  #refusals = new WeakMap<Stored, Read>();
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
    this.#refusals = new WeakMap();
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

  /** A route that refuses the clients of the one that is written. */
  refusal(key: string, name: ObjectName, stored: Stored, context: ObjectContext): Read {
    const known = this.#refusals.get(stored) ?? refusing(this.read(key, name, stored, context));
    this.#refusals.set(stored, known);
    return known;
  }
}

function refusing(part: Read): Read {
  if (!('raw' in part)) return part;
  const { sni, wildcard, alpn, from, ja4, name } = part.raw;
  const match = Object.entries({ name, sni, wildcard, alpn, from, ja4 }).filter(
    ([, value]) => value !== undefined,
  );
  return { ...part, raw: { ...Object.fromEntries(match), deny: 'held' } };
}
