/** Turns files like configurations into objects: what they name is read, and what is secret is sealed. */
import { createPrivateKey } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Cluster } from '../../cluster/connect.ts';
import type { Objects } from '../../cluster/load-state.ts';
import { listOf, parseObjectText, wholeObject } from '../../cluster/objects.ts';
import { ConfigError, type Finding, formatPath, type Path } from '../../config/finding.ts';
import { pemText } from '../../config/read/files.ts';
import { isMapping } from '../../config/read/parted.ts';
import { parseYaml } from '../../config/read/yaml.ts';

type Mapping = Record<string, unknown>;

/** The objects' texts by name. Rejects with a ConfigError that has all faults. */
export async function objectsOf(
  path: string,
  cluster: Cluster,
  present: Objects,
): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  const faults: Finding[] = [];
  for (const file of await filesAt(path)) {
    const reading = createReading(file, cluster, present, faults);
    const raw = await reading.parse();
    for (const [name, value] of raw === undefined ? [] : await split(raw, reading)) {
      const text = JSON.stringify(value);
      const tell = (message: string, hint?: string) => faults.push(wholeObject(file, message, hint));
      if (texts.has(name))
        tell(`${name} is given twice`, name.startsWith('routes/') ? 'give each a `name`' : undefined);
      texts.set(name, text);
    }
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return texts;
}

async function filesAt(path: string): Promise<string[]> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    const message = `cannot be read (${error.code})`;
    throw new ConfigError([{ file: path, line: 0, column: 0, path: '', message }]);
  });
  if (!found.isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => /^[^.].*\.(ya?ml|json)$/.test(name));
  // With `--prune` it would delete everything.
  if (names.length === 0) throw new ConfigError([wholeObject(path, 'it has no .yaml, .yml or .json file')]);
  return names.sort().map((name) => join(path, name));
}

type Reading = ReturnType<typeof createReading>;

function createReading(file: string, { keys, seal }: Cluster, present: Objects, faults: Finding[]) {
  let locate: ReturnType<typeof parseYaml>['locate'] = () => ({ line: 0, column: 0, path: [] });
  const fault = (path: Path, message: string, hint?: string) => {
    const { line, column } = locate(path);
    faults.push({ file, line, column, path: formatPath(path), message, ...(hint && { hint }) });
  };
  const read = async (name: unknown, path: Path): Promise<Buffer | undefined> => {
    if (typeof name !== 'string') return void fault(path, 'expected a path');
    const absolute = resolve(dirname(file), name);
    return readFile(absolute).catch((error: NodeJS.ErrnoException) => {
      fault(path, `${absolute} cannot be read (${error.code})`);
      return undefined;
    });
  };
  return {
    fault,
    read,
    async parse(): Promise<Mapping | undefined> {
      const yaml = parseYaml(await readFile(file, 'utf8'), process.env);
      locate = yaml.locate;
      for (const { line, column, path, message, hint } of yaml.faults) {
        faults.push({ file, line, column, path: formatPath(path), message, ...(hint && { hint }) });
      }
      if (!isMapping(yaml.raw)) return void fault([], 'expected a mapping');
      return yaml.raw;
    },
    /** A sealed text differs each time, so one of the same contents is kept. */
    seal(name: string, content: string, at: readonly (string | number)[]): { sealed: string } {
      const place = keys.config + name;
      const sealed = sealedIn(present.get(name)?.text, at);
      try {
        if (
          sealed !== undefined &&
          seal.isLatest(sealed) &&
          seal.open(sealed, place).equals(Buffer.from(content))
        ) {
          return { sealed };
        }
      } catch {
        // Sealed by others.
      }
      return { sealed: seal.seal(Buffer.from(content), place) };
    },
  };
}

function sealedIn(text: string | undefined, path: readonly (string | number)[]): string | undefined {
  if (text === undefined) return undefined;
  let value: unknown = parseObjectText(text).raw;
  for (const step of [...path, 'key', 'sealed']) value = (value as Mapping | undefined)?.[step];
  return typeof value === 'string' ? value : undefined;
}

const sections = ['certificates', 'authorities', 'upstreams', 'listeners'] as const;

async function split(raw: Mapping, reading: Reading): Promise<[name: string, value: unknown][]> {
  for (const key of Object.keys(raw)) {
    if (sections.some((section) => section === key)) continue;
    reading.fault([key], `\`${key}\` is not shared`, 'it belongs into the file of each machine');
  }
  const found: [string, unknown][] = [];
  const each = async (
    kind: (typeof sections)[number],
    make: (id: string, value: Mapping) => Promise<void>,
  ) => {
    const section = raw[kind] ?? {};
    if (!isMapping(section)) reading.fault([kind], 'expected a mapping');
    for (const [id, value] of Object.entries(isMapping(section) ? section : {})) {
      if (isMapping(value)) await make(id, value);
      else reading.fault([kind, id], 'expected a mapping');
    }
  };
  await each('certificates', async (id, value) => {
    const name = `certificates/${id}`;
    found.push([name, await certificate(name, value, ['certificates', id], reading)]);
  });
  await each('authorities', async (id, value) => {
    found.push([`authorities/${id}`, await authority(value, ['authorities', id], reading)]);
  });
  await each('upstreams', async (id, value) => void found.push([`upstreams/${id}`, value]));
  await each('listeners', async (id, { routes, ...listener }) => {
    // A listener that machines' files have, since its address differs, gets routes only.
    if (Object.keys(listener).length > 0) found.push([`listeners/${id}`, listener]);
    for (const [index, route] of listOf(routes).entries()) {
      if (isMapping(route))
        found.push([`routes/${id}/${idOf(route, index)}`, { order: 100 + index, ...route }]);
      else reading.fault(['listeners', id, 'routes', index], 'expected a mapping');
    }
  });
  return found;
}

/** Its name, or else the first of its server names, or else its place. */
function idOf({ name, sni }: Mapping, index: number): string {
  const [first] = listOf(sni);
  return String(name ?? first ?? index)
    .replace(/^\*\./, 'any.')
    .replace(/^\*$/, 'any');
}

async function certificate(name: string, value: Mapping, path: Path, reading: Reading): Promise<Mapping> {
  if (!Array.isArray(value['pairs'])) return pair(name, value, path, [], reading);
  const pairs: unknown[] = [];
  for (const [index, one] of value['pairs'].entries()) {
    const at = ['pairs', index];
    pairs.push(isMapping(one) ? await pair(name, one, [...path, ...at], at, reading) : one);
  }
  return { ...value, pairs };
}

async function pair(
  name: string,
  { cert, key, key_passphrase_file, ocsp, ...rest }: Mapping,
  path: Path,
  at: readonly (string | number)[],
  reading: Reading,
): Promise<Mapping> {
  const chain = await reading.read(cert, [...path, 'cert']);
  const pem = await reading.read(key, [...path, 'key']);
  const staple = ocsp === undefined ? undefined : await reading.read(ocsp, [...path, 'ocsp']);
  const passphrase =
    key_passphrase_file === undefined
      ? undefined
      : (await reading.read(key_passphrase_file, [...path, 'key_passphrase_file']))
          ?.toString()
          .split(/\r?\n/)[0];
  const clear = pem && openKey(pemText(pem), passphrase, [...path, 'key'], reading);
  return {
    ...rest,
    cert: chain && pemText(chain),
    key: clear && reading.seal(name, clear, at),
    ...(staple && { ocsp: staple.toString('base64') }),
  };
}

/** Without its passphrase: it will be sealed. */
function openKey(
  pem: string,
  passphrase: string | undefined,
  path: Path,
  reading: Reading,
): string | undefined {
  if (passphrase === undefined) return pem;
  try {
    return createPrivateKey({ key: pem, passphrase }).export({ type: 'pkcs8', format: 'pem' }).toString();
  } catch {
    return void reading.fault(path, 'the passphrase does not open it');
  }
}

async function authority({ ca, crl, ...rest }: Mapping, path: Path, reading: Reading): Promise<Mapping> {
  const readAll = async (names: unknown, key: string) => {
    const texts: string[] = [];
    for (const one of listOf(names)) {
      const content = await reading.read(one, [...path, key]);
      if (content) texts.push(pemText(content));
    }
    return texts;
  };
  return {
    ...rest,
    ca: await readAll(ca, 'ca'),
    ...(crl !== undefined && { crl: await readAll(crl, 'crl') }),
  };
}
