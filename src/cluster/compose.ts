/**
 * Puts a machine's file and the objects of etcd together into one configuration, to be checked as a whole.
 */
import { ConfigError, type Finding, type Path } from '../config/finding.ts';
import { type ConfigText, type LoadedConfig, loadParsed } from '../config/load.ts';
import { createFiles, type Files } from '../config/read/files.ts';
import { type ParsedYaml, parseYaml } from '../config/read/yaml.ts';
import type { Kind, ObjectName } from './keys.ts';
import { isMapping, listOf, type Part, wholeObject } from './objects.ts';

/** A machine's file, parsed. */
export type Base = Pick<ConfigText, 'name' | 'directory'> & { readonly yaml: ParsedYaml };

export function parseBase({ text, name, directory }: ConfigText, environment = process.env): Base {
  return { name, directory, yaml: parseYaml(Buffer.from(text).toString(), environment) };
}

/** Whether the file has something of that name, which an object may then not have. */
export function isInFile({ yaml }: Base, name: ObjectName): boolean {
  return name.kind !== 'routes' && Object.hasOwn(sectionOf(yaml.raw, name.kind), name.id);
}

export function nameTaken({ name }: Base, key: string): Finding {
  return wholeObject(key, `the machine's ${name} has something of this name, too`, 'rename one of them');
}

/** Checks all of it as `loadText` checks a file. A ConfigError's findings name objects by their keys. */
export function loadComposed(base: Base, parts: readonly Part[]): Promise<LoadedConfig> {
  const raw = structuredClone(base.yaml.raw) as Record<string, unknown>;
  const owners = new Map<string, Part>();
  const stray: Finding[] = [];
  for (const part of parts) {
    if (part.name.kind === 'routes') continue;
    section(raw, part.name.kind)[part.name.id] = structuredClone(part.raw);
    owners.set(`${part.name.kind}/${part.name.id}`, part);
  }
  for (const part of inOrder(parts)) {
    const { listener } = part.name;
    const at = section(raw, 'listeners')[listener];
    if (!isMapping(at)) {
      stray.push(wholeObject(part.key, `no listener is called "${listener}"`));
      continue;
    }
    at['routes'] ??= [];
    if (!Array.isArray(at['routes'])) continue;
    owners.set(`routes/${listener}/${at['routes'].length}`, part);
    at['routes'].push(structuredClone(part.raw));
  }
  if (stray.length > 0) return Promise.reject(new ConfigError(stray));
  const locate: ParsedYaml['locate'] = (path, at) => {
    const { part, inner } = ownerOf(path, owners);
    return part ? part.locate(inner, at) : base.yaml.locate(path, at);
  };
  const files = withContents(createFiles(), parts);
  return loadParsed(
    { raw, faults: base.yaml.faults, locate },
    { name: base.name, directory: base.directory, files },
  );
}

type RoutePart = Part & { readonly name: Extract<ObjectName, { kind: 'routes' }> };

/** Behind the file's own. */
function inOrder(parts: readonly Part[]): RoutePart[] {
  const routes = parts.filter((part): part is RoutePart => part.name.kind === 'routes');
  return routes.sort((a, b) => a.order - b.order || (a.name.id < b.name.id ? -1 : 1));
}

function ownerOf(path: Path, owners: ReadonlyMap<string, Part>): { part: Part | undefined; inner: Path } {
  const [kind, id, within, index, ...rest] = path;
  const route = kind === 'listeners' && within === 'routes' ? owners.get(`routes/${id}/${index}`) : undefined;
  if (route) return { part: route, inner: rest };
  return { part: owners.get(`${kind}/${id}`), inner: path.slice(2) };
}

/** Whether any of these refer to something, by the names of what they refer to: `upstreams/orders`. */
export function referencesOf({ name, raw }: Part): string[] {
  const tls = isMapping(raw['tls']) ? raw['tls'] : {};
  if (name.kind === 'upstreams') {
    const check = isMapping(raw['health_check']) ? raw['health_check'] : {};
    const both = [tls, isMapping(check['tls']) ? check['tls'] : {}];
    return both.flatMap(({ authority, certificate }) => [
      ...named('authorities', authority),
      ...named('certificates', certificate),
    ]);
  }
  if (name.kind !== 'routes') return [];
  const auth = isMapping(tls['client_auth']) ? tls['client_auth'] : {};
  return [
    `listeners/${name.listener}`,
    ...named('upstreams', raw['upstream']),
    ...named('certificates', tls['certificates']),
    ...named('authorities', auth['authority']),
  ];
}

function named(kind: Kind, value: unknown): string[] {
  return listOf(value).map((id) => `${kind}/${id}`);
}

function sectionOf(raw: unknown, kind: Exclude<Kind, 'routes'>): Record<string, unknown> {
  const value = isMapping(raw) ? raw[kind] : undefined;
  return isMapping(value) ? value : {};
}

function section(raw: Record<string, unknown>, kind: Exclude<Kind, 'routes'>): Record<string, unknown> {
  const there = raw[kind];
  if (isMapping(there)) return there;
  const made = {};
  raw[kind] = made;
  return made;
}

/** What objects contain is read by name, like files, so that all checks are the same. */
function withContents(files: Files, parts: readonly Part[]): Files {
  const contents = new Map(parts.flatMap((part) => [...part.contents]));
  return {
    ...files,
    async read(file, path, report) {
      return contents.get(file) ?? files.read(file, path, report);
    },
    async isReadableByOthers(file) {
      return !contents.has(file) && files.isReadableByOthers(file);
    },
  };
}
