/** Finds the admin endpoint of a running penstock. */
import { resolve } from 'node:path';
import { ConfigError, formatFinding, formatPath } from '../../config/finding.ts';
import { parseText } from '../../config/read/parse.ts';
import type { ParsedYaml } from '../../config/read/yaml.ts';
import { readConfigFile } from '../../config/sources/file.ts';
import { findConfigFile } from '../../config/sources/find-file.ts';
import { type EndpointAddress, parseEndpoint } from '../../net/written-address.ts';
import { UsageError } from '../terminal/usage.ts';

/** Where to ask; `text` is the address for messages. */
export type AdminAddress = {
  readonly text: string;
  readonly endpoint: EndpointAddress;
  /** Where the address is from. */
  readonly origin: string;
  /** What to do if nobody answers there. */
  readonly remedy: string;
};

export type PlaceFlags = {
  /** `host:port` or `unix:/path`. */
  readonly admin?: string | undefined;
  /** The configuration that it runs with. */
  readonly config?: string | undefined;
};

const fallback = '127.0.0.1:9901';

/**
 * The address from `--admin`, or `admin.bind` of the configuration that `-c` names, or of the one that `run`
 * would find; 127.0.0.1:9901 if nothing was asked for and there is no such place. Throws a UsageError if what
 * was asked for names no place.
 */
export async function adminAddress({ admin, config }: PlaceFlags): Promise<AdminAddress> {
  if (admin !== undefined) {
    const endpoint = parseEndpoint(admin);
    if (endpoint === undefined) throw new UsageError(`--admin ${admin}: expected host:port or unix:/path`);
    return {
      text: admin,
      endpoint,
      origin: 'the address of --admin',
      remedy: 'is it running, with admin.bind set?',
    };
  }
  const found = await bindOf(config);
  if ('bind' in found) {
    const remedy = 'is it running? If admin.bind was changed since, --admin names the place before';
    return { ...addressOf(found.bind), origin: `admin.bind of ${found.file}`, remedy };
  }
  if (config !== undefined) throw new UsageError(`${found.why}; or name the place by --admin`);
  const remedy = '-c FILE or --admin ADDRESS names another place';
  return { ...addressOf(fallback), origin: `the default: ${found.why}`, remedy };
}

type Found = { readonly file: string; readonly bind: string } | { readonly why: string };

async function bindOf(option: string | undefined): Promise<Found> {
  try {
    const file = await findConfigFile(option);
    const { name, text, directory } = await readConfigFile(file);
    return bindIn(parseText(new Uint8Array(text), process.env), name, directory);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { why: error.findings[0]?.message ?? '' };
  }
}

/** The rest of the file may be faulty: what runs was started with an earlier one. */
function bindIn({ raw, faults }: ParsedYaml, file: string, directory: string): Found {
  const fault = faults.find(({ path }) => raw === undefined || path[0] === 'admin');
  if (fault) return { why: formatFinding({ ...fault, file, path: formatPath(fault.path) }) };
  const written = (raw as { admin?: { bind?: unknown } } | undefined)?.admin?.bind;
  const path = (written as { path?: unknown } | undefined)?.path;
  const bind = path === undefined ? written : `unix:${path}`;
  if (bind === undefined) return { why: `${file} has no admin.bind` };
  if (typeof bind !== 'string' || parseEndpoint(bind) === undefined) {
    return { why: `admin.bind of ${file} is no address` };
  }
  return { file, bind: bind.startsWith('unix:') ? `unix:${resolve(directory, bind.slice(5))}` : bind };
}

function addressOf(text: string): Pick<AdminAddress, 'text' | 'endpoint'> {
  const endpoint = parseEndpoint(text);
  if (endpoint === undefined) throw new TypeError(`not an address: ${text}`);
  return { text, endpoint };
}
