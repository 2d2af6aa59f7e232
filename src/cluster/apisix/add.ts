/** The objects of a store, for the thread that loads a configuration. */
import type { Finding, Path } from '../../config/finding.ts';
import { formatPath } from '../../config/finding.ts';
import type { Added, AddingData } from '../../config/read/added.ts';
import { parseBinding } from '../../net/written-address.ts';
import { isFields, keyOf, type StoredObject } from './objects.ts';
import { troublesOf } from './schema.ts';
import type { ObjectListen } from './translate.ts';
import { type TakenNames, type Translated, Translator } from './translator.ts';

/** Translates one state after another. */
const translator = new Translator();

/** See `config/read/added.ts`. `raw` is what the file says, not yet checked. */
export function add(raw: unknown, { objects, faulty: known }: AddingData): Added {
  const stored = objects as ReadonlyMap<string, StoredObject>;
  const faulty = [...[...stored.values()].flatMap(schemaFindings), ...known];
  const translated = translator.translate(stored, {
    listens: listensIn(raw),
    taken: namesIn(raw),
    faulty: new Set(faulty.map(({ file }) => file)),
  });
  return {
    ...translated,
    origin: (path) => originOf(path, translated),
    held: [...faulty, ...translated.denied],
  };
}

const schemaFindingsOf = new WeakMap<StoredObject, Finding[]>();

function schemaFindings(object: StoredObject): Finding[] {
  const known = schemaFindingsOf.get(object);
  if (known) return known;
  const key = keyOf(object);
  const findings = troublesOf(object.kind, object.value).map(({ path, message }) => ({
    file: key,
    line: 0,
    column: 0,
    path: formatPath(path),
    message,
  }));
  schemaFindingsOf.set(object, findings);
  return findings;
}

/** A route is blamed on the object that its upstream is from. */
function originOf([section, name, part, index]: Path, { origins, routes }: Translated): string | undefined {
  if (section !== 'listeners') return origins.get(`${section}.${name}`);
  const route = part === 'routes' ? routes.get(String(name))?.[Number(index)] : undefined;
  return route && 'upstream' in route ? origins.get(`upstreams.${route.upstream}`) : undefined;
}

function listensIn(raw: unknown): ObjectListen[] {
  return Object.entries(mapping(mapping(raw)['listeners'])).flatMap(([name, listener]) => {
    const { stream_routes: mode, bind } = mapping(listener);
    return mode === undefined ? [] : [listenOf(name, mode, Array.isArray(bind) ? bind : [bind])];
  });
}

/** Anything but `plain` counts as TLS, so that plain clients are refused rather than admitted. */
function listenOf(name: string, mode: unknown, bind: readonly unknown[]): ObjectListen {
  const bindings = bind.flatMap((one) => (typeof one === 'string' ? (parseBinding(one) ?? []) : []));
  const tcp = bindings.flatMap((one) => ('port' in one ? [one] : []));
  const hosts = new Set(tcp.map(({ host }) => host ?? ''));
  return {
    name,
    host: hosts.size === 1 ? ([...hosts][0] ?? '') : '',
    ports: tcp.map(({ port }) => port),
    tls: mode !== 'plain',
    acceptsProxyHeader: false,
    sendsProxyHeader: false,
    place: { file: `listeners.${name}`, line: 0 },
    text: name,
    value: undefined,
  };
}

function namesIn(raw: unknown): TakenNames {
  const names = (section: string) => new Set(Object.keys(mapping(mapping(raw)[section])));
  return {
    certificates: names('certificates'),
    authorities: names('authorities'),
    upstreams: names('upstreams'),
  };
}

function mapping(value: unknown): Readonly<Record<string, unknown>> {
  return isFields(value) ? value : {};
}
