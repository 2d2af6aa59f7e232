/**
 * Finds keys of APISIX's objects that the import does not read. Each is reported; if one may decide which
 * clients an object is for, those clients are refused rather than guessed about.
 */
import type { Note, Notes } from '../notes.ts';
import type { Value } from '../value.ts';
import type { ApisixObject, Objects } from './objects.ts';

/** What a first run of the import found, for use by the second. */
export type Strange = {
  /** Whether it has keys that may limit which clients it is for, except those below `but`. */
  readonly narrows: (value: Value, but?: string) => boolean;
  /** Whether it is known that it cannot be used; then `narrows` holds, too. */
  readonly isFaulty: (value: Value) => boolean;
  /** Whether there are raw nginx directives, which may refuse any client. */
  readonly hasSnippet: boolean;
  readonly tell: (notes: Notes) => void;
};

export const nothingStrange: Strange = {
  narrows: () => false,
  isFaulty: () => false,
  hasSnippet: false,
  tell: () => {},
};

/**
 * To be called after everything was read. Anything that a note is about, or contains, has already been
 * reported.
 */
export function findStrange(objects: Objects, told: readonly Note[]): Strange {
  const spoken = new Set(
    told.flatMap(({ kind, file, what }) => (kind === 'look' ? [] : [`${file} ${what}`])),
  );
  const isSpokenOf = ({ place, name }: Value) =>
    name.split('.').some((_, index, parts) => {
      const outer = parts.slice(0, index + 1).join('.');
      return spoken.has(`${place.file} ${outer}`);
    });
  // Read it so that its keys are judged one by one.
  objects.settings?.get('nginx_config');
  const unused = new Set(unusedObjects(objects));
  // Objects of routes that refuse their clients anyway.
  const inUnused = [...objects.stream_routes, ...objects.services]
    .map(({ value }) => value.get('upstream'))
    .filter(isUnused);
  const all = [...objects.ssls, ...objects.stream_routes, ...objects.upstreams, ...objects.services];
  const unread = [
    ...all.filter((one) => !unused.has(one)).flatMap(({ value }) => value.unread()),
    ...(objects.settings?.unread() ?? []).filter(({ name }) => ofStreams.test(name)),
  ].filter((value) => !isSpokenOf(value) && !inUnused.some((one) => isWithin(value, one)));
  const [described, strange] = [unread.filter(describes), unread.filter((value) => !describes(value))];
  return {
    narrows: (value, but) =>
      strange.some((one) => isWithin(one, value) && !(but && isWithin(one, value.get(but)))),
    isFaulty: () => false,
    hasSnippet: strange.some(({ name }) => snippet.test(name)),
    tell(notes) {
      for (const { value } of unused) notes.leftOut(value.place, value.name, 'no client is routed here');
      for (const value of described) notes.leftOut(value.place, value.name, 'it only describes');
      for (const value of strange) tellOne(value, notes);
    },
  };
}

/** Only the parts of config.yaml about streams and TLS; the rest is about HTTP, or how APISIX runs. */
const ofStreams = /^(apisix\.(stream_proxy|proxy_protocol|ssl)\b|nginx_config\.stream)/;
const notRouting = /^(.*\.)?(upstreams?(\[\d+\])?|nginx_config|apisix)\./;
const snippet = /^nginx_config\.stream\w*snippet$/;

function describes({ name }: Value): boolean {
  return /(^|\.)(id|name|desc|labels|create_time|update_time|validity_start|validity_end)$/.test(name);
}

function tellOne(value: Value, notes: Notes): void {
  const { place, name } = value;
  if (/http|lua_shared_dict|^apisix\.ssl\.(enable|listen\w*)$/.test(name)) {
    notes.leftOut(place, name, 'it does not concern streams');
  } else if (notRouting.test(name) && !/\.tcp\[|snippet$/.test(name)) {
    notes.notCarried(place, name, 'penstock has no such setting');
  } else {
    const message =
      'penstock does not know it, and it may decide whom this is for: clients it may apply to are refused';
    notes.denied(place, name, message, 'if it does not, remove it, or replace `deny: true`');
  }
}

function isWithin(inner: Value, outer: Value): boolean {
  if (inner.place.file !== outer.place.file) return false;
  const { name } = outer;
  return (
    name === '' ||
    inner.name === name ||
    inner.name.startsWith(`${name}.`) ||
    inner.name.startsWith(`${name}[`)
  );
}

/** Upstreams, services and certificates that nothing refers to. */
function unusedObjects({ ssls, stream_routes, upstreams, services }: Objects): ApisixObject[] {
  const named = new Set(stream_routes.map(({ value }) => value.get('service_id').text));
  return [
    ...[...ssls, ...upstreams].filter(({ value }) => isUnused(value)),
    ...services.filter(({ id }) => !named.has(id)),
  ];
}

/** Whether its purpose was never asked for. */
function isUnused(value: Value): boolean {
  const inside = value.name === '' ? '' : `${value.name}.`;
  const purpose = ['nodes', 'discovery_type', 'cert', 'key'].map((key) => `${inside}${key}`);
  return value.unread().some(({ name }) => purpose.includes(name));
}
