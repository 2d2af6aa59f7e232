/**
 * Turns APISIX's objects into parts of a configuration, by the rules of `penstock import`. What it cannot
 * carry over refuses the clients it might concern.
 */
import type { Finding } from '../../config/finding.ts';
import { createParts, routeDrafts, routesAt, tellUnserved } from '../../tools/import/apisix/import.ts';
import type { Listen } from '../../tools/import/apisix/listens.ts';
import type { ApisixObject, Objects } from '../../tools/import/apisix/objects.ts';
import { plainValue } from '../../tools/import/apisix/plain-value.ts';
import { findStrange, nothingStrange, type Strange } from '../../tools/import/apisix/strange.ts';
import { createDraft, type Draft } from '../../tools/import/draft.ts';
import { createNotes, type Note, type Notes } from '../../tools/import/notes.ts';
import type { Surroundings } from '../../tools/import/result.ts';
import type { RouteDraft } from '../../tools/import/routes.ts';
import { type Kind, keyOf, kinds, type StoredObject } from './objects.ts';

export type Translation = {
  readonly draft: Draft;
  /** By the name of the listener. */
  readonly routes: ReadonlyMap<string, readonly object[]>;
  readonly files: ReadonlyMap<string, string>;
  readonly notes: readonly Note[];
};

export type ObjectListen = Listen & { readonly name: string };

export type Section = 'certificates' | 'authorities' | 'upstreams';

export type Translating = {
  readonly listens: readonly ObjectListen[];
  /** Whether something else has this name already. Objects get others. */
  readonly isTaken: (section: Section, name: string) => boolean;
  /** The keys of objects that cannot be used. */
  readonly faulty: ReadonlySet<string>;
  /** The routes of one name or pattern alone, or with '' those for any other name, and for none. */
  readonly only?: { readonly name: string; readonly hasBelow: (ending: string) => boolean };
};

export function translate(stored: readonly StoredObject[], given: Translating): Translation {
  const { faulty } = given;
  const withFaulty = (strange: Strange): Strange => ({
    ...strange,
    narrows: (value, but) => faulty.has(value.place.file) || strange.narrows(value, but),
    isFaulty: (value) => faulty.has(value.place.file),
  });
  // The first run only finds out which keys are read.
  const first = build(stored, given, withFaulty(nothingStrange));
  const strange = findStrange(first.objects, first.notes.all());
  const { draft, notes, routes, files } = build(stored, given, withFaulty(strange));
  strange.tell(notes);
  return { draft, routes, files, notes: notes.all() };
}

function build(stored: readonly StoredObject[], { listens, isTaken, only }: Translating, strange: Strange) {
  const notes = createNotes();
  const objects = objectsFrom(stored);
  const draft = draftBeside(isTaken);
  const parts = createParts(objects, draft, strange, notes, surroundings);
  const routesOf = (listen: ObjectListen) => routesFor(listen, parts, notes, only?.name);
  const routes = new Map(listens.map((listen) => [listen.name, routesOf(listen)]));
  if (only === undefined) tellUnserved(parts, parts.routes);
  else {
    const own = parts.routes.filter(({ patterns }) => patterns.includes(only.name));
    tellUnserved(parts, own, only.hasBelow);
  }
  const files = new Map(parts.certificates.files.map(({ path, text }) => [path, text]));
  return { objects, draft, notes, routes, files };
}

function routesFor(
  listen: ObjectListen,
  parts: Parameters<typeof routeDrafts>[2],
  notes: Notes,
  only: string | undefined,
): object[] {
  // Clients without TLS send no name.
  if (!listen.tls && only !== undefined && only !== '') return [];
  const { made, idle } = routeDrafts(listen, routesAt(listen, parts), parts, only);
  if (idle.size > 0) {
    const message =
      'the times of silence that upstreams allow (timeout.send, timeout.read) do not count here';
    notes.look(listen.place, 'timeouts', message, 'set `timeouts.idle` of the listener');
  }
  return made.map(heldOrRuled);
}

/**
 * A route refuses its clients because a rule of APISIX's says so, or no rule takes them; or else because an
 * object is faulty or could not be carried over, which is nothing that an operator has asked for.
 */
function heldOrRuled({ value, comment }: RouteDraft): object {
  const isAsked = comment === undefined || restriction.test(comment);
  return value['deny'] === true && !isAsked ? { ...value, deny: 'held' } : value;
}

const restriction = /^plugins\.ip-restriction$/;

/** Keeps what is added from getting names that are taken. */
function draftBeside(isTaken: Translating['isTaken']): Draft {
  const beside = <T>(section: Section) => new NamesBeside<T>((name) => isTaken(section, name));
  return {
    ...createDraft(),
    certificates: beside('certificates'),
    authorities: beside('authorities'),
    upstreams: beside('upstreams'),
  };
}

class NamesBeside<T> extends Map<string, T> {
  readonly #isTaken: (name: string) => boolean;

  constructor(isTaken: (name: string) => boolean) {
    super();
    this.#isTaken = isTaken;
  }

  override has(name: string): boolean {
    return super.has(name) || this.#isTaken(name);
  }
}

function objectsFrom(stored: readonly StoredObject[]): Objects {
  const of = (wanted: Kind): ApisixObject[] =>
    stored
      .filter(({ kind }) => kind === wanted)
      .map((one) => ({
        id: one.id,
        value: plainValue(keyOf(one), one.value, one.kind === 'upstreams' ? 'upstream' : ''),
      }));
  const [ssls, upstreams, services, stream_routes] = kinds.map(of);
  return {
    ssls: ssls ?? [],
    upstreams: upstreams ?? [],
    services: services ?? [],
    stream_routes: stream_routes ?? [],
    settings: undefined,
  };
}

/** Nothing that an object says reads a file. */
const surroundings: Surroundings = {
  read: () => undefined,
  list: () => undefined,
  pathFor: (path) => path,
  // No path of a file system: it is looked up in memory.
  certificatePath: (name) => `/apisix/${name}`,
  writesCertificates: true,
};

/** Hints about files that somebody imports, or about their result, are of no use here. */
const ofImport = /deny: true|^give |; give /;

export function findingOf({ file, what, message, hint }: Note): Finding {
  const own = hint === undefined || ofImport.test(hint) ? {} : { hint };
  return { file, line: 0, column: 0, path: what, message, ...own };
}
