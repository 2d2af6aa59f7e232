/**
 * Reads one object of etcd: the same keys as in a file, but with what a file would name. An author of etcd is
 * not the administrator of the machine: nothing here can read a file or an environment variable, or run code.
 */
import type { Finding, Path } from '../config/finding.ts';
import { formatPath } from '../config/finding.ts';
import { isMapping } from '../config/read/parted.ts';
import { type ParsedYaml, parseYaml } from '../config/read/yaml.ts';
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
  const yaml = parseYaml(text, {});
  const faults: Finding[] = yaml.faults.map(({ line, column, path, message, hint }) => {
    return { file: key, line, column, path: formatPath(path), message, ...(hint && { hint }) };
  });
  if (faults.length > 0) return faults;
  if (!isMapping(yaml.raw)) return [wholeObject(key, 'expected a mapping')];
  const contents = new Map<string, Buffer>();
  // Parsed again: there may be thousands of objects, and few of them are located.
  const locate: ParsedYaml['locate'] = (path, at) => ({ ...parseYaml(text, {}).locate(path, at), file: key });
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
  const { order = 100, ...raw } = yaml.raw as { order?: unknown };
  if (name.kind === 'routes' && !Number.isInteger(order)) reading.fault(['order'], 'expected a whole number');
  const part = readers[name.kind](name.kind === 'routes' ? raw : yaml.raw, reading);
  if (faults.length > 0) return faults;
  return { key, name, raw: part, order: Number(order), contents, locate };
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
    if (!Array.isArray(raw['pairs'])) return readPair(raw, [], reading);
    const pairs = raw['pairs'].map((pair, index) =>
      isMapping(pair) ? readPair(pair, ['pairs', index], reading) : pair,
    );
    return { ...raw, pairs };
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
    for (const [index, endpoint] of listOf(raw['endpoints']).entries()) {
      const address = isMapping(endpoint) ? endpoint['address'] : endpoint;
      if (isUnix(address))
        reading.fault(['endpoints', index], 'an object names no path', 'put this upstream into the file');
    }
    return raw;
  },
  listeners(raw, reading) {
    if (raw['routes'] !== undefined)
      reading.fault(['routes'], 'routes are objects of their own: routes/LISTENER/ID');
    for (const [index, place] of listOf(raw['bind']).entries()) {
      if (isMapping(place) || isUnix(place)) {
        reading.fault(['bind', index], 'an object names no path', 'put this listener into the file');
      }
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

function isUnix(address: unknown): boolean {
  return typeof address === 'string' && address.startsWith('unix:');
}
