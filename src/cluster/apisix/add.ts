/** The objects of a store, for the thread that loads a configuration. */
import type { Finding, Path } from '../../config/finding.ts';
import { formatPath } from '../../config/finding.ts';
import type { Added, AddingData } from '../../config/read/added.ts';
import { parseBinding } from '../../net/written-address.ts';
import type { Draft } from '../../tools/import/draft.ts';
import { isFields, keyOf, type StoredObject } from './objects.ts';
import { troublesOf } from './schema.ts';
import { findingOf, type ObjectListen, type TakenNames, translate } from './translate.ts';

export type ObjectData = AddingData & { readonly objects: readonly StoredObject[] };

/** See `config/read/added.ts`. `raw` is what the file says, not yet checked. */
export function add(raw: unknown, data: ObjectData): Added {
  const faulty = [...data.objects.flatMap(schemaFindings), ...data.faulty];
  const keys = new Set(faulty.map(({ file }) => file));
  const { draft, routes, files, notes } = translate(data.objects, listensIn(raw), namesIn(raw), keys);
  const denied = notes.filter(({ denies }) => denies === true).map(findingOf);
  return {
    certificates: draft.certificates,
    authorities: draft.authorities,
    upstreams: new Map([...draft.upstreams].map(([name, { options }]) => [name, options])),
    routes,
    files,
    origin: (path) => originOf(path, draft, routes),
    held: [...faulty, ...denied],
    warnings: notes.filter(({ kind, denies }) => kind !== 'left_out' && denies === undefined).map(findingOf),
  };
}

function schemaFindings(object: StoredObject): Finding[] {
  const key = keyOf(object);
  return troublesOf(object.kind, object.value).map(({ path, message }) => ({
    file: key,
    line: 0,
    column: 0,
    path: formatPath(path),
    message,
  }));
}

/** A route is blamed on the object that its upstream is from. */
function originOf(
  [section, name, part, index]: Path,
  draft: Draft,
  routes: ReadonlyMap<string, readonly object[]>,
): string | undefined {
  if (section !== 'listeners') return draft.origins.get(`${section}.${name}`);
  const route = part === 'routes' ? routes.get(String(name))?.[Number(index)] : undefined;
  return route && 'upstream' in route ? draft.origins.get(`upstreams.${route.upstream}`) : undefined;
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
  const names = (section: string) => Object.keys(mapping(mapping(raw)[section]));
  return {
    certificates: names('certificates'),
    authorities: names('authorities'),
    upstreams: names('upstreams'),
  };
}

function mapping(value: unknown): Readonly<Record<string, unknown>> {
  return isFields(value) ? value : {};
}
