/**
 * Translates the objects of a store again and again. The clients of each name are a translation of their own,
 * of the objects that have a say about them, and it is kept as long as those are the same: a change of one
 * object translates what it is for, whatever else there is.
 */
import type { Finding } from '../../config/finding.ts';
import { endingsOf } from '../../tools/import/apisix/import.ts';
import { keysOf, neighboursIn, reachOf } from './links.ts';
import type { StoredObject } from './objects.ts';
import { findingOf, type ObjectListen, type Section, type Translation, translate } from './translate.ts';

/** Names that the file has already, by section. Objects get others. */
export type TakenNames = Readonly<Record<Section, ReadonlySet<string>>>;

export type Around = {
  readonly listens: readonly ObjectListen[];
  readonly taken: TakenNames;
  /** The keys of objects that cannot be used. */
  readonly faulty: ReadonlySet<string>;
};

/** What objects become. Whatever did not change is the same value as before. */
export type Translated = Readonly<Record<Section, Map<string, object>>> & {
  /** By the name of the listener. */
  readonly routes: ReadonlyMap<string, readonly object[]>;
  readonly files: ReadonlyMap<string, string>;
  /** The keys of the objects that things are from, such as that of `upstreams.orders`. */
  readonly origins: ReadonlyMap<string, string>;
  /** What could not be carried over, so that clients are refused. */
  readonly denied: readonly Finding[];
  readonly warnings: readonly Finding[];
};

const sections = ['certificates', 'authorities', 'upstreams'] as const;

export class Translator {
  #around = '';
  #islands = new Map<string, Island>();
  #made = new Map<string, Entry>();
  #translated = 0;
  #objects: ReadonlyMap<string, StoredObject> = new Map();
  #faulty: ReadonlySet<string> = new Set();

  /** How many names have been translated so far. */
  get translated(): number {
    return this.#translated;
  }

  translate(objects: ReadonlyMap<string, StoredObject>, around: Around): Translated {
    const text = JSON.stringify([around.listens, sections.map((section) => [...around.taken[section]])]);
    if (text !== this.#around) this.#islands.clear();
    this.#around = text;
    const neighbours = neighboursIn(objects);
    const hasBelow = endingsOf(neighbours.certified);
    const isReached = reachOf(this.#changesIn(objects, around.faulty));
    const islands = new Map<string, Island>();
    const merged = new Merged(around, this.#made);
    for (const name of ['', ...neighbours.names]) {
      const isCertifiedBelow = name.startsWith('*.') && hasBelow(name.slice(1));
      const make = (isTaken: (section: Section, name: string) => boolean) => {
        this.#translated += 1;
        const of = neighbours.of(name);
        const translation = translate(of, { ...around, isTaken, only: { name, hasBelow } });
        return islandOf(translation, keysOf(of), isCertifiedBelow);
      };
      const known = this.#islands.get(name);
      const isAsBefore = known?.isCertifiedBelow === isCertifiedBelow && !isReached(name, known.keys);
      const free = () => false;
      const island = known && isAsBefore ? known : withRoutesOf(known, make(free));
      islands.set(name, island);
      merged.add(island, make);
    }
    this.#objects = new Map(objects);
    this.#faulty = around.faulty;
    this.#islands = islands;
    this.#made = merged.made;
    return merged.result();
  }

  /** Both versions of all objects that differ from the last time, or of which something else is known. */
  #changesIn(objects: ReadonlyMap<string, StoredObject>, faulty: ReadonlySet<string>): StoredObject[] {
    const changed: StoredObject[] = [];
    for (const [key, object] of objects) {
      const before = this.#objects.get(key);
      if (before === object && faulty.has(key) === this.#faulty.has(key)) continue;
      changed.push(object, ...(before ? [before] : []));
    }
    for (const [key, before] of this.#objects) if (!objects.has(key)) changed.push(before);
    return changed;
  }
}

/** A value of a section, and everything that it says, with its files, as a text. */
type Entry = { readonly value: object; readonly text: string; readonly origin: string | undefined };

/** What becomes of the clients of a name. */
type Island = {
  /** The keys of what it was made of: another version of one of these makes another island. */
  readonly keys: ReadonlySet<string>;
  readonly isCertifiedBelow: boolean;
  readonly routes: ReadonlyMap<string, readonly object[]>;
  /** By section and name, such as `upstreams.orders`. */
  readonly entries: ReadonlyMap<string, Entry>;
  readonly files: ReadonlyMap<string, string>;
  readonly denied: readonly Finding[];
  readonly warnings: readonly Finding[];
};

function islandOf(
  { draft, routes, files, notes }: Translation,
  keys: ReadonlySet<string>,
  isCertifiedBelow: boolean,
): Island {
  const entries = new Map<string, Entry>();
  const add = (section: Section, name: unknown) => {
    const key = `${section}.${name}`;
    const drafted = draft[section].get(String(name));
    if (drafted === undefined || entries.has(key)) return;
    const value = 'options' in drafted ? (drafted.options as object) : drafted;
    const text = JSON.stringify([value, namesIn(value).map((path) => files.get(path))]);
    entries.set(key, { value, text, origin: draft.origins.get(key) });
    const { certificate } = 'tls' in value ? (value.tls as { certificate?: string }) : {};
    if (section === 'upstreams' && certificate !== undefined) add('certificates', certificate);
  };
  // Wider patterns may have made more than is needed for these clients.
  for (const route of [...routes.values()].flat() as RouteValue[]) {
    add('upstreams', route.upstream);
    if (typeof route.tls !== 'object') continue;
    for (const certificate of route.tls.certificates) add('certificates', certificate);
    add('authorities', route.tls.client_auth?.authority);
  }
  const own = new Map<string, string>();
  for (const { value } of entries.values()) {
    for (const path of namesIn(value)) own.set(path, files.get(path) ?? '');
  }
  return {
    keys,
    isCertifiedBelow,
    routes,
    entries,
    files: own,
    denied: notes.filter(({ denies }) => denies === true).map(findingOf),
    warnings: notes.filter(({ kind, denies }) => kind !== 'left_out' && denies === undefined).map(findingOf),
  };
}

type RouteValue = {
  readonly upstream?: string;
  readonly tls?:
    | string
    | { readonly certificates: readonly string[]; readonly client_auth?: { readonly authority: string } };
};

/** The files that a certificate or an authority names. */
function namesIn(value: object): string[] {
  const {
    ca,
    cert,
    key,
    pairs = [],
  } = value as {
    ca?: string;
    cert?: string;
    key?: string;
    pairs?: readonly object[];
  };
  return [ca, cert, key, ...pairs.flatMap(namesIn)].filter((path) => path !== undefined);
}

/** Routes that say the same as before stay the same values. */
function withRoutesOf(known: Island | undefined, island: Island): Island {
  if (known === undefined) return island;
  const routes = new Map(
    [...island.routes].map(([listener, own]) => {
      const before = known.routes.get(listener);
      return [listener, before && JSON.stringify(before) === JSON.stringify(own) ? before : own];
    }),
  );
  return { ...island, routes };
}

/** Puts islands together. Those that come first keep their names. */
class Merged {
  readonly made = new Map<string, Entry>();
  readonly #before: ReadonlyMap<string, Entry>;
  readonly #taken: TakenNames;
  readonly #routes: Map<string, object[]>;
  readonly #islands: Island[] = [];

  constructor({ listens, taken }: Around, before: ReadonlyMap<string, Entry>) {
    this.#taken = taken;
    this.#before = before;
    this.#routes = new Map(listens.map(({ name }) => [name, []]));
  }

  /** `again` makes it with other names, if some are taken. */
  add(first: Island, again: (isTaken: (section: Section, name: string) => boolean) => Island): void {
    let island = first;
    const clashing = new Set<string>();
    for (let found = this.#clashes(island); found.length > 0; found = this.#clashes(island)) {
      for (const key of found) clashing.add(key);
      island = again((section, name) => {
        const key = `${section}.${name}`;
        // With a number at the end it is the next to be tried.
        const isTried = clashing.has(key) || clashing.has(key.replace(/-\d+$/, ''));
        return isTried && this.#isTaken(section, name);
      });
    }
    this.#islands.push(island);
    for (const [key, entry] of island.entries) {
      if (this.made.has(key)) continue;
      const before = this.#before.get(key);
      this.made.set(key, before?.text === entry.text ? { ...entry, value: before.value } : entry);
    }
    for (const [listener, own] of island.routes) this.#routes.get(listener)?.push(...own);
  }

  result(): Translated {
    const values = { certificates: new Map(), authorities: new Map(), upstreams: new Map() };
    const origins = new Map<string, string>();
    for (const [key, { value, origin }] of this.made) {
      const dot = key.indexOf('.');
      values[key.slice(0, dot) as Section].set(key.slice(dot + 1), value);
      if (origin !== undefined) origins.set(key, origin);
    }
    return {
      ...values,
      routes: new Map([...this.#routes].map(([name, own]) => [name, own.length > 0 ? own : refusal])),
      files: new Map(this.#islands.flatMap(({ files }) => [...files])),
      origins,
      denied: distinct(this.#islands.flatMap(({ denied }) => denied)),
      warnings: distinct(this.#islands.flatMap(({ warnings }) => warnings)),
    };
  }

  /** Names of the island that mean something else already. */
  #clashes({ entries }: Island): string[] {
    const clashes: string[] = [];
    for (const [key, { text, origin }] of entries) {
      const there = this.made.get(key);
      const isShared = there !== undefined && there.text === text && there.origin === origin;
      const dot = key.indexOf('.');
      if (!isShared && this.#isTaken(key.slice(0, dot) as Section, key.slice(dot + 1))) clashes.push(key);
    }
    return clashes;
  }

  #isTaken(section: Section, name: string): boolean {
    return this.made.has(`${section}.${name}`) || this.#taken[section].has(name);
  }
}

const refusal: readonly object[] = [{ deny: true }];

function distinct(findings: readonly Finding[]): Finding[] {
  const seen = new Set<string>();
  return findings.filter((finding) => {
    const text = JSON.stringify(finding);
    return !seen.has(text) && seen.add(text);
  });
}
