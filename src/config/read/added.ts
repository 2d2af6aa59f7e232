/**
 * Adds to a configuration what is not written in its file: the objects of a store. They are checked like the
 * rest, and findings have their key as the file.
 */
import type { Finding, Path } from '../finding.ts';
import type { Files } from './files.ts';
import type { ObjectList, Parted } from './parted.ts';
import type { ParsedYaml, Place } from './yaml.ts';

/**
 * How a thread gets them: it imports the module, and calls its export `add` with what the file says and
 * `data`, which is plain.
 */
export type Adding = { readonly module: string; readonly data: AddingData };

export type AddingData = {
  /** By key. One that has not changed is the same value as before. */
  readonly objects: ReadonlyMap<string, unknown>;
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

const refusal: readonly unknown[] = [{ deny: true }];

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
    listener['routes'] = added?.routes.get(name) ?? refusal;
  }
  if (added === undefined) return { ...yaml, faults };
  for (const section of ['certificates', 'authorities', 'upstreams'] as const) {
    if (added[section].size === 0) continue;
    const written = raw[section] ?? {};
    if (isMapping(written)) raw[section] = { ...written, ...Object.fromEntries(added[section]) };
  }
  return { ...yaml, faults, locate: locateIn(added, yaml.locate) };
}

/**
 * The same for a file in parts. undefined if it has a fault that `withAdded` reports.
 */
export function partedWithAdded(file: Parted, added: Added): Parted | undefined {
  const lists: ObjectList[] = [];
  for (const section of ['certificates', 'authorities', 'upstreams'] as const) {
    const { keys = [], values = [] } = file.lists.find(({ path }) => path.join() === section) ?? {};
    const more = added[section];
    lists.push({
      path: [section],
      kind: 'mapping',
      keys: [...keys.filter((key) => !more.has(key)), ...more.keys()],
      values: [...values.filter((_, index) => !more.has(keys[index] ?? '')), ...more.values()],
    });
  }
  for (const [name, listener] of Object.entries(
    isMapping(file.rest['listeners']) ? file.rest['listeners'] : {},
  )) {
    const path = ['listeners', name, 'routes'];
    const written = file.lists.find((list) => list.path.join('\n') === path.join('\n'));
    const isStored = isMapping(listener) && listener['stream_routes'] !== undefined;
    if (isStored && (written !== undefined || listener['routes'] !== undefined)) return undefined;
    if (isStored) lists.push({ path, kind: 'list', keys: [], values: added.routes.get(name) ?? refusal });
    else if (written) lists.push(written);
  }
  return { rest: file.rest, lists, locate: locateIn(added, file.locate) };
}

function locateIn(added: Added, locate: ParsedYaml['locate']): ParsedYaml['locate'] {
  return (path, at) => placeOf(path, added) ?? locate(path, at);
}

function twice(place: Place): ParsedYaml['faults'][number] {
  const message = 'with `stream_routes`, the routes of this listener come from the Admin API';
  return { ...place, message, hint: 'remove one of the two' };
}

/** Files, some of which are not on disk: these are neither watched nor readable by others. */
export function withContents(
  files: Files,
  contents: ReadonlyMap<string, string | Buffer> = new Map(),
): Files {
  return {
    ...files,
    held: (file) => contents.get(file),
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
