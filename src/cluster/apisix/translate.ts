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

/** Names that the file has already, by section. Objects get others. */
export type TakenNames = Readonly<Record<'certificates' | 'authorities' | 'upstreams', readonly string[]>>;

/** `faulty` has the keys of objects that cannot be used. */
export function translate(
  stored: readonly StoredObject[],
  listens: readonly ObjectListen[],
  taken: TakenNames,
  faulty: ReadonlySet<string>,
): Translation {
  const withFaulty = (strange: Strange): Strange => ({
    ...strange,
    narrows: (value, but) => faulty.has(value.place.file) || strange.narrows(value, but),
    isFaulty: (value) => faulty.has(value.place.file),
  });
  // The first run only finds out which keys are read.
  const first = build(stored, listens, taken, withFaulty(nothingStrange));
  const strange = findStrange(first.objects, first.notes.all());
  const { draft, notes, routes, files } = build(stored, listens, taken, withFaulty(strange));
  strange.tell(notes);
  return { draft, routes, files, notes: notes.all() };
}

function build(
  stored: readonly StoredObject[],
  listens: readonly ObjectListen[],
  taken: TakenNames,
  strange: Strange,
) {
  const notes = createNotes();
  const objects = objectsFrom(stored);
  const draft = createDraft();
  const own = reserve(draft, taken);
  const parts = createParts(objects, draft, strange, notes, surroundings);
  const routes = new Map(listens.map((listen) => [listen.name, routesFor(listen, parts, notes)]));
  tellUnserved(parts);
  for (const [section, name] of own) draft[section].delete(name);
  const files = new Map(parts.certificates.files.map(({ path, text }) => [path, text]));
  return { objects, draft, notes, routes, files };
}

function routesFor(listen: ObjectListen, parts: Parameters<typeof routeDrafts>[2], notes: Notes): object[] {
  const { made, idle } = routeDrafts(listen, routesAt(listen, parts), parts);
  if (idle.size > 0) {
    const message =
      'the times of silence that upstreams allow (timeout.send, timeout.read) do not count here';
    notes.look(listen.place, 'timeouts', message, 'set `timeouts.idle` of the listener');
  }
  return made.length > 0 ? made.map(heldOrRuled) : [{ deny: true }];
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

/** Keeps what is added from getting the names of the file. */
function reserve(draft: Draft, taken: TakenNames) {
  const sections = ['certificates', 'authorities', 'upstreams'] as const;
  return sections.flatMap((section) =>
    taken[section].map((name) => {
      const reserved: Map<string, unknown> = draft[section];
      reserved.set(name, {});
      return [section, name] as const;
    }),
  );
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
