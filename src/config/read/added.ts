/**
 * Adds to a configuration what is not written in its file: the objects of a store. They are checked like the
 * rest, and findings have their key as the file.
 */
import type { Finding, Path } from '../finding.ts';
import type { Files } from './files.ts';
import type { ParsedYaml, Place } from './yaml.ts';

/**
 * How a thread gets them: it imports the module, and calls its export `add` with what the file says and
 * `data`, which is plain.
 */
export type Adding = { readonly module: string; readonly data: AddingData };

export type AddingData = {
  /** What was found wrong with some of them, in an earlier attempt. */
  readonly faulty: readonly Finding[];
};

export type AddingModule = { readonly add: (raw: unknown, data: AddingData) => Added };

type Section = 'certificates' | 'authorities' | 'upstreams';

export type Added = Readonly<Record<Section, ReadonlyMap<string, unknown>>> & {
  /** By the name of the listener, instead of what it has. */
  readonly routes: ReadonlyMap<string, readonly unknown[]>;
  /** The contents of files that they name, by absolute path. */
  readonly files: ReadonlyMap<string, string>;
  /** The key of the object that something is from, such as `upstreams.orders`. */
  readonly origin: (path: Path) => string | undefined;
  /** Objects that are not served as they are: clients that they might concern are refused. */
  readonly held: readonly Finding[];
  readonly warnings: readonly Finding[];
};

export async function addedTo(raw: unknown, adding: Adding | undefined): Promise<Added | undefined> {
  if (adding === undefined || !isMapping(raw)) return undefined;
  const { add } = (await import(adding.module)) as AddingModule;
  return add(raw, adding.data);
}

/**
 * The file with them, before it is parsed. A listener whose routes come from a store refuses everyone until
 * they are there.
 */
export function withAdded(yaml: ParsedYaml, added: Added | undefined): ParsedYaml {
  const { raw } = yaml;
  if (!isMapping(raw)) return yaml;
  const faults = [...yaml.faults];
  for (const [name, listener] of Object.entries(isMapping(raw['listeners']) ? raw['listeners'] : {})) {
    if (!isMapping(listener) || listener['stream_routes'] === undefined) continue;
    if (listener['routes'] !== undefined)
      faults.push(twice(yaml.locate(['listeners', name, 'routes'], 'key')));
    listener['routes'] = added?.routes.get(name) ?? [{ deny: true }];
  }
  if (added === undefined) return { ...yaml, faults };
  for (const section of ['certificates', 'authorities', 'upstreams'] as const) {
    if (added[section].size === 0) continue;
    const written = raw[section] ?? {};
    if (isMapping(written)) raw[section] = { ...written, ...Object.fromEntries(added[section]) };
  }
  const locate: ParsedYaml['locate'] = (path, at) => placeOf(path, added) ?? yaml.locate(path, at);
  return { ...yaml, faults, locate };
}

function twice(place: Place): ParsedYaml['faults'][number] {
  const message = 'with `stream_routes`, the routes of this listener come from the Admin API';
  return { ...place, message, hint: 'remove one of the two' };
}

/** Files, some of which are not on disk: these are neither watched nor readable by others. */
export function withContents(files: Files, contents: ReadonlyMap<string, string> = new Map()): Files {
  return {
    ...files,
    async read(file, path, report) {
      const content = contents.get(file);
      return content === undefined ? files.read(file, path, report) : Buffer.from(content);
    },
    isReadableByOthers: async (file) => !contents.has(file) && files.isReadableByOthers(file),
  };
}

function placeOf(path: Path, { origin }: Added): Place | undefined {
  const file = origin(path);
  return file === undefined ? undefined : { file, line: 0, column: 0, path };
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
