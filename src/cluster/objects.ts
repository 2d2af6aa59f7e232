/**
 * Reads one object of etcd: the same keys as in a file, but with what a file would name. An author of etcd is
 * not the administrator of the machine: nothing here can read a file or an environment variable, or run code.
 */
import type { Finding, Path } from '../config/finding.ts';
import { formatPath } from '../config/finding.ts';
import { parseJsonObject } from '../config/read/json.ts';
import { isMapping } from '../config/read/parted.ts';
import { type ParsedYaml, parseYaml } from '../config/read/yaml.ts';
import { troubleWithForm } from './form.ts';
import type { ObjectName } from './keys.ts';
import type { Seal } from './seal.ts';

/** An object in the form that the schema takes, with names in place of contents. */
export type Part = {
  /** In full. */
  readonly key: string;
  readonly name: ObjectName;
  readonly raw: Record<string, unknown>;
  /** A route with a lower one comes first. */
  readonly order: number;
  /** What it says by the names in `raw`, which no file has. */
  readonly contents: ReadonlyMap<string, Buffer>;
  readonly locate: ParsedYaml['locate'];
};

export type ObjectContext = {
  readonly seal: Seal;
  /** The files of checks, by the names that objects know them by. */
  readonly modules: Readonly<Record<string, string>>;
  /** Why this machine cannot serve an object of this text, though nothing is wrong with it. */
  readonly obstacle?: (name: ObjectName, text: string) => string | undefined;
};

/** The object with this key (in full) and text, or what is wrong with it. */
export function readObject(
  key: string,
  name: ObjectName,
  text: string,
  context: ObjectContext,
): Part | readonly Finding[] {
  if (text.includes('${'))
    return [wholeObject(key, 'objects take no environment variables', 'write the value')];
  const yaml = parseObjectText(text);
  const faults: Finding[] = yaml.faults.map(({ line, column, path, message, hint }) => {
    return { file: key, line, column, path: formatPath(path), message, ...(hint && { hint }) };
  });
  if (faults.length > 0) return faults;
  if (!isMapping(yaml.raw)) return [wholeObject(key, 'expected a mapping')];
  const trouble = troubleWithForm(yaml.raw);
  if (trouble !== undefined) return [wholeObject(key, trouble)];
  const contents = new Map<string, Buffer>();
  // Parsed again: there may be thousands of objects, and few of them are located.
  const locate: ParsedYaml['locate'] = (path, at) => ({ ...placesIn(text).locate(path, at), file: key });
  const reading: Reading = {
    key,
    context,
    hold: (path, content) => {
      const named = `${key}#${formatPath(path)}`;
      contents.set(named, content);
      return named;
    },
    fault: (path, message, hint) => {
      const { line, column } = locate(path);
      faults.push({ file: key, line, column, path: formatPath(path), message, ...(hint && { hint }) });
    },
  };
  const { order: _, ...raw } = yaml.raw;
  const order = orderOf(yaml.raw);
  if (name.kind === 'routes' && order === undefined) reading.fault(['order'], 'expected a whole number');
  const part = readers[name.kind](name.kind === 'routes' ? raw : yaml.raw, reading);
  if (faults.length > 0) return faults;
  return { key, name, raw: part, order: order ?? 100, contents, locate };
}

/** The YAML parser takes minutes for what a megabyte may contain. */
const longestYaml = 32 * 1024;

export function parseObjectText(text: string): ParsedYaml {
  if (text.length <= longestYaml) return parseYaml(text, {});
  const start = { line: 0, column: 0, path: [] };
  const raw = parseJsonObject(text);
  const message = `it has more than ${longestYaml} characters, and is no plain JSON`;
  const faults =
    raw === undefined ? [{ ...start, message, hint: 'write it as `penstock cluster apply` does' }] : [];
  return { raw, faults, locate: () => start };
}

/** What was located last: an object may have thousands of faults. */
let located: { readonly text: string; readonly yaml: ParsedYaml } | undefined;

function placesIn(text: string): ParsedYaml {
  if (located?.text !== text) located = { text, yaml: parseObjectText(text) };
  return located.yaml;
}

/** undefined if it is no number. */
export function orderOf({ order = 100 }: { readonly order?: unknown }): number | undefined {
  return Number.isInteger(order) ? Number(order) : undefined;
}

export function wholeObject(file: string, message: string, hint?: string): Finding {
  return { file, line: 0, column: 0, path: '', message, ...(hint && { hint }) };
}

type Mapping = Record<string, unknown>;

type Reading = {
  readonly key: string;
  readonly context: ObjectContext;
  /** Keeps a content, and returns the name it is read by. */
  readonly hold: (path: Path, content: Buffer) => string;
  readonly fault: (path: Path, message: string, hint?: string) => void;
};

const readers: Readonly<Record<ObjectName['kind'], (raw: Mapping, reading: Reading) => Mapping>> = {
  certificates(raw, reading) {
    // A `cert` beside `pairs` is a fault, but whatever parses is checked all the same.
    const { pairs, ...whole } = readPair(raw, [], reading);
    if (!Array.isArray(pairs)) return pairs === undefined ? whole : { ...whole, pairs };
    return {
      ...whole,
      pairs: pairs.map((pair, index) => (isMapping(pair) ? readPair(pair, ['pairs', index], reading) : pair)),
    };
  },
  authorities(raw, reading) {
    const inline = (key: 'ca' | 'crl') => {
      if (raw[key] === undefined) return {};
      const hold = (one: unknown, path: Path) =>
        typeof one === 'string' ? reading.hold(path, Buffer.from(one)) : one;
      const written = raw[key];
      return {
        [key]: Array.isArray(written) ? written.map((one, at) => hold(one, [key, at])) : hold(written, [key]),
      };
    };
    return { ...raw, ...inline('ca'), ...inline('crl') };
  },
  upstreams(raw, reading) {
    refuseSockets(raw, [], 'put this upstream into the file', reading);
    return raw;
  },
  listeners(raw, reading) {
    if (raw['routes'] !== undefined)
      reading.fault(['routes'], 'routes are objects of their own: routes/LISTENER/ID');
    const hint = 'put this listener into the file';
    refuseSockets(raw, [], hint, reading);
    for (const [index, place] of listOf(raw['bind']).entries()) {
      if (isMapping(place)) reading.fault(['bind', index], namesNoPath, hint);
    }
    return raw;
  },
  routes(raw, reading) {
    const { tls } = raw;
    const id = reading.key.slice(reading.key.lastIndexOf('/') + 1);
    const named = { name: id, ...raw };
    if (!isMapping(tls) || !isMapping(tls['client_auth'])) return named;
    const { authorize } = tls['client_auth'];
    if (authorize === undefined) return named;
    const { modules } = reading.context;
    const file = Object.hasOwn(modules, String(authorize)) ? modules[String(authorize)] : undefined;
    if (file === undefined) {
      const hint = 'the file of each machine says where it is: cluster.modules';
      reading.fault(['tls', 'client_auth', 'authorize'], `no module is called "${authorize}"`, hint);
    }
    return { ...named, tls: { ...tls, client_auth: { ...tls['client_auth'], authorize: file } } };
  },
};

function readPair(pair: Mapping, path: Path, reading: Reading): Mapping {
  const { cert, key, ocsp, key_passphrase_file: passphrase, ...rest } = pair;
  if (passphrase !== undefined) {
    reading.fault(
      [...path, 'key_passphrase_file'],
      'an object names no file',
      '`penstock cluster apply` seals the key without it',
    );
  }
  return {
    ...rest,
    ...(cert !== undefined && {
      cert: typeof cert === 'string' ? reading.hold([...path, 'cert'], Buffer.from(cert)) : cert,
    }),
    ...(key !== undefined && { key: readKey(key, [...path, 'key'], reading) }),
    ...(ocsp !== undefined && {
      ocsp: typeof ocsp === 'string' ? reading.hold([...path, 'ocsp'], Buffer.from(ocsp, 'base64')) : ocsp,
    }),
  };
}

/** Keys lie sealed, since etcd's own access rules have failed before. */
function readKey(key: unknown, path: Path, { hold, fault, context, key: place }: Reading): unknown {
  if (!isMapping(key) || typeof key['sealed'] !== 'string') {
    fault(path, 'the key is not sealed', '`penstock cluster apply` seals it: `key: { sealed: … }`');
    return undefined;
  }
  try {
    return hold(path, context.seal.open(key['sealed'], place));
  } catch (error) {
    fault(
      path,
      `the key cannot be opened: ${(error as Error).message}`,
      'do all machines have the same secrets in cluster.seal?',
    );
    return undefined;
  }
}

/** One or a list, as a list. */
export function listOf(value: unknown): readonly unknown[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value];
}

const namesNoPath = 'an object names no path';

/** Unix sockets, wherever they are written: of endpoints, of health checks, of whatever will have some. */
function refuseSockets(value: unknown, path: Path, hint: string, reading: Reading): void {
  if (typeof value === 'string' && value.startsWith('unix:')) reading.fault(path, namesNoPath, hint);
  if (Array.isArray(value)) {
    for (const [index, one] of value.entries()) refuseSockets(one, [...path, index], hint, reading);
  } else if (isMapping(value)) {
    for (const [key, one] of Object.entries(value)) refuseSockets(one, [...path, key], hint, reading);
  }
}
