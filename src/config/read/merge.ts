/** Merges included files into the main one: they add to it, and each finding names its file. */
import type { Path } from '../finding.ts';
import type { Included } from './include.ts';
import { parseText } from './parse.ts';
import type { ParsedYaml, Place } from './yaml.ts';

/** A configuration together with what it includes, and where each part came from. */
export type WithIncluded = ParsedYaml & {
  /** The directory of the file that has what is at this path, if that is not the main file. */
  readonly directoryOf?: (path: Path) => string | undefined;
};

type Source = {
  readonly file: string;
  readonly directory: string;
  readonly yaml: ParsedYaml;
  /** Within that file. */
  readonly path: Path;
};

const sections = ['certificates', 'authorities', 'upstreams'] as const;

/** Merges the included files into the main one. Every name belongs to one file. */
export function withIncluded(
  main: ParsedYaml,
  included: Included | undefined,
  environment: NodeJS.ProcessEnv,
): WithIncluded {
  const { raw } = main;
  if (!isMapping(raw) || raw['include'] === undefined) return main;
  const merging = new Merging(main, raw);
  if (raw['cluster'] !== undefined) {
    merging.faultInMain('cannot be together with `cluster`', 'tenants are objects of etcd there');
  } else if (included === undefined) {
    merging.faultInMain('has to stand at the beginning of a line, as `include:`');
  }
  for (const file of included?.files ?? []) {
    if ('fault' in file) merging.faultInMain(file.fault, file.hint);
    else merging.add(file, parseText(new Uint8Array(file.text), environment));
  }
  return merging.done();
}

/** One load's merge. `raw` is changed, but not what is deeper in it than sections, listeners and routes. */
class Merging {
  readonly #main: ParsedYaml;
  readonly #raw: Record<string, unknown>;
  readonly #faults: ParsedYaml['faults'][number][];
  readonly #sources = new Map<string, Source>();
  /** By listener and name of a server: the file whose routes have it; '' is the main file. */
  readonly #names = new Map<string, string>();

  constructor(main: ParsedYaml, raw: Record<string, unknown>) {
    this.#main = main;
    this.#raw = raw;
    this.#faults = [...main.faults];
    for (const [listener, routes] of routesIn(raw))
      for (const route of routes) this.#claim(listener, route, '');
  }

  faultInMain(message: string, hint?: string): void {
    this.#faults.push({ ...this.#main.locate(['include'], 'key'), message, ...(hint && { hint }) });
  }

  add({ name: file, directory }: { name: string; directory: string }, yaml: ParsedYaml): void {
    const fault = (path: Path, message: string, hint?: string) =>
      this.#faults.push({ ...yaml.locate(path, 'key'), file, message, ...(hint && { hint }) });
    this.#faults.push(...yaml.faults.map((one) => ({ ...one, file })));
    const { raw } = yaml;
    if (raw === undefined) return;
    if (!isMapping(raw)) return void fault([], 'expected a mapping');
    for (const key of Object.keys(raw)) {
      if (key === 'listeners' || sections.some((section) => section === key)) continue;
      fault([key], `an included file may not have "${key}"`, 'put it in the main file');
    }
    const source = { file, directory, yaml };
    for (const section of sections) {
      if (raw[section] === undefined) continue;
      if (!isMapping(raw[section])) fault([section], 'expected a mapping');
      else this.#addSection(section, raw[section], source, fault);
    }
    if (raw['listeners'] === undefined) return;
    if (!isMapping(raw['listeners'])) return void fault(['listeners'], 'expected a mapping');
    for (const [name, listener] of Object.entries(raw['listeners'])) {
      this.#addRoutes(name, listener, source, fault);
    }
  }

  done(): WithIncluded {
    this.#denyWhereNothingIs();
    const find = (path: Path) => this.#sources.get(keyOf(path)) ?? this.#sources.get(keyOf(path.slice(0, 2)));
    const locate = (path: Path, at?: 'key' | 'value'): Place => {
      const source = find(path);
      if (source === undefined) return this.#main.locate(path, at);
      const depth = path[2] === 'routes' ? 4 : 2;
      const place = source.yaml.locate([...source.path, ...path.slice(depth)], at);
      return {
        ...place,
        file: source.file,
        path: [...path.slice(0, depth), ...place.path.slice(source.path.length)],
      };
    };
    return {
      raw: this.#raw,
      faults: this.#faults,
      locate,
      directoryOf: (path) => find(path)?.directory,
    };
  }

  #addSection(
    section: (typeof sections)[number],
    entries: Record<string, unknown>,
    source: Omit<Source, 'path'>,
    fault: Fault,
  ): void {
    const written = this.#raw[section] ?? {};
    // The schema reports it.
    if (!isMapping(written)) return;
    const merged = { ...written };
    for (const [name, value] of Object.entries(entries)) {
      const path = [section, name];
      if (Object.hasOwn(merged, name)) {
        fault(path, `${name} is in ${this.#fileOf(path)} already`, 'each name belongs to one file');
        continue;
      }
      merged[name] = value;
      this.#sources.set(keyOf(path), { ...source, path });
    }
    this.#raw[section] = merged;
  }

  #addRoutes(name: string, listener: unknown, source: Omit<Source, 'path'>, fault: Fault): void {
    const path = ['listeners', name];
    const listeners = this.#raw['listeners'];
    const known = isMapping(listeners) ? listeners[name] : undefined;
    if (!isMapping(listeners) || !isMapping(known)) {
      fault(path, `the main file has no listener ${name}`, 'an included file may only add routes to one');
      return;
    }
    if (!isMapping(listener) || Object.keys(listener).some((key) => key !== 'routes')) {
      fault(path, 'an included file may only add `routes` to a listener');
      return;
    }
    const routes = listener['routes'];
    const before = known['routes'] ?? [];
    if (!Array.isArray(routes) || !Array.isArray(before)) {
      fault([...path, 'routes'], 'expected a list');
      return;
    }
    for (const [index, route] of routes.entries()) {
      const at = [...path, 'routes', index];
      if (asksForCode(route)) {
        fault(
          [...at, 'tls', 'client_auth', 'authorize'],
          'an included file may not name code',
          'put this route in the main file',
        );
      }
      const owner = this.#claim(name, route, source.file);
      if (owner !== undefined)
        fault([...at, 'sni'], owner, 'the names of a listener belong to one file each');
      this.#sources.set(keyOf([...path, 'routes', before.length + index]), { ...source, path: at });
    }
    this.#raw['listeners'] = { ...listeners, [name]: { ...known, routes: [...before, ...routes] } };
  }

  /** A listener whose routes would all be from included files refuses everyone until there is one. */
  #denyWhereNothingIs(): void {
    const { listeners } = this.#raw;
    if (!isMapping(listeners)) return;
    for (const [name, listener] of Object.entries(listeners)) {
      if (!isMapping(listener) || listener['stream_routes'] !== undefined) continue;
      if (listener['routes'] === undefined) listeners[name] = { ...listener, routes: [{ deny: true }] };
    }
  }

  /** Notes whose the names of a route are; returns a fault if they are another file's. */
  #claim(listener: string, route: unknown, file: string): string | undefined {
    const sni = isMapping(route) ? route['sni'] : undefined;
    const names = sni === undefined ? [''] : Array.isArray(sni) ? sni : [sni];
    for (const name of names) {
      const written = String(name).toLowerCase().replace(/\.$/, '');
      const key = `${listener} ${written}`;
      const owner = this.#names.get(key);
      if (owner !== undefined && owner !== file) {
        return `${written || 'a route without sni'} is in ${owner || 'the main file'} already`;
      }
      this.#names.set(key, file);
    }
    return undefined;
  }

  #fileOf(path: Path): string {
    return this.#sources.get(keyOf(path))?.file ?? 'the main file';
  }
}

type Fault = (path: Path, message: string, hint?: string) => void;

function routesIn(raw: Record<string, unknown>): [string, unknown[]][] {
  const { listeners } = raw;
  if (!isMapping(listeners)) return [];
  return Object.entries(listeners).flatMap(([name, listener]) => {
    const routes = isMapping(listener) ? listener['routes'] : undefined;
    return Array.isArray(routes) ? [[name, routes] as [string, unknown[]]] : [];
  });
}

function asksForCode(route: unknown): boolean {
  const tls = isMapping(route) ? route['tls'] : undefined;
  const auth = isMapping(tls) ? tls['client_auth'] : undefined;
  return isMapping(auth) && auth['authorize'] !== undefined;
}

/** Identifies an entry of a section, or a route. */
function keyOf(path: Path): string {
  return JSON.stringify(path.slice(0, path[2] === 'routes' ? 4 : 2));
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
