/** Turns a file of expectations into clients that can be explained, with the position of each value. */
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { ConfigError, type Finding, formatPath, type Path } from '../../config/finding.ts';
import type { LoadedConfig } from '../../config/load.ts';
import { type ParsedYaml, type Place, parseYaml } from '../../config/read/yaml.ts';
import { suggest } from '../../config/rules/near-miss.ts';
import { explainIssues } from '../../config/schema/issues.ts';
import { systemCode } from '../../errors.ts';
import { readHellos } from '../captures/input.ts';
import { type AssumedClient, anyClient, clientOf, tlsVersions } from '../client/assumed-client.ts';
import { readCertificates } from '../client/flags.ts';
import { UsageError } from '../terminal/usage.ts';
import { type CaseClient, casesSchema, type clientsSchema, type Expectation } from './schema.ts';

/** `place` finds the position of a key of `expect`, or of the case itself. */
export type Case = {
  readonly name: string;
  readonly listener: string;
  readonly client: AssumedClient;
  readonly expect: Expectation;
  readonly place: (key?: keyof Expectation) => Place;
};

export type Cases = { readonly file: string; readonly cases: readonly Case[] };

/**
 * Reads and checks a file of expectations about this configuration, and the files it names, with paths
 * relative to it. Throws a ConfigError with all faults.
 */
export async function loadCases(
  file: string,
  loaded: LoadedConfig,
  schema: typeof casesSchema | typeof clientsSchema = casesSchema,
): Promise<Cases> {
  const yaml = parseYaml(await readText(file), process.env);
  const findings: Finding[] = yaml.faults.map((fault) => findingAt(file, fault, fault.message, fault.hint));
  const report = (path: Path, message: string, hint?: string, at?: 'key' | 'value') => {
    findings.push(findingAt(file, yaml.locate(path, at), message, hint));
  };
  const parsed = yaml.raw === undefined ? undefined : schema.safeParse(yaml.raw);
  if (parsed?.error) {
    for (const { path, message, hint, at } of explainIssues(parsed.error.issues, yaml.raw, schema)) {
      report(path, message, hint, at);
    }
  }
  const cases: Case[] = [];
  const { defaults = {}, cases: written = [] } = parsed?.data ?? {};
  for (const [index, { name, client, expect }] of written.entries()) {
    // A key is reported in the case if it is set there, otherwise in `defaults`.
    const placeOf = (key: keyof CaseClient): Path =>
      client[key] === undefined ? ['defaults', key] : ['cases', index, 'client', key];
    const merged = merge(defaults, client);
    const listener = listenerOf(merged, loaded, (message, hint) =>
      report(merged.listener === undefined ? ['cases', index, 'client'] : placeOf('listener'), message, hint),
    );
    const assumed = await assume(merged, dirname(resolve(file)), (key, message) =>
      report(placeOf(key), message),
    );
    if (listener === undefined || assumed === undefined) continue;
    if (merged.peer !== undefined && !loaded.config.listeners[listener]?.accept_proxy_protocol) {
      report(
        placeOf('peer'),
        `listener ${listener} reads no PROXY headers`,
        "the client's address is `from`",
      );
    }
    cases.push({
      name: name ?? describe(listener, merged),
      listener,
      client: assumed,
      expect,
      place: (key) => placeIn(yaml, index, key),
    });
  }
  if (findings.length > 0) throw new ConfigError(sorted(findings));
  return { file, cases };
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const message = `cannot be read (${systemCode(error)})`;
    throw new ConfigError([{ file, line: 0, column: 0, path: '', message }]);
  }
}

function findingAt(
  file: string,
  { line, column, path }: Place,
  message: string,
  hint: string | undefined,
): Finding {
  return { file, line, column, path: formatPath(path), message, ...(hint && { hint }) };
}

function sorted(findings: readonly Finding[]): Finding[] {
  const unique = new Map(findings.map((finding) => [JSON.stringify(finding), finding]));
  return [...unique.values()].sort((a, b) => a.line - b.line || a.column - b.column);
}

/**
 * A plain client takes no defaults that only TLS clients can have; one with a real hello takes none that the
 * hello states.
 */
function merge(defaults: CaseClient, client: CaseClient): CaseClient {
  const { listener, from, peer, certificate } = defaults;
  const kept = client.plain ? { listener, from, peer } : { listener, from, peer, certificate };
  return { ...(client.plain || client.hello !== undefined ? kept : defaults), ...client };
}

function listenerOf(
  { listener }: CaseClient,
  { config: { listeners } }: LoadedConfig,
  report: (message: string, hint?: string) => void,
): string | undefined {
  const names = Object.keys(listeners);
  if (listener === undefined) {
    const [only, another] = names;
    if (another === undefined) return only;
    report('`listener` is missing', 'here, or in `defaults`');
    return undefined;
  }
  if (Object.hasOwn(listeners, listener)) return listener;
  report(`no listener is called "${listener}"`, suggest(listener, names, 'there are'));
  return undefined;
}

type Report = (key: keyof CaseClient, message: string) => void;

/** Keys that only TLS clients can have, and keys that a real hello states itself. */
const ofTls = ['sni', 'alpn', 'ja4', 'tls', 'certificate', 'hello'] as const;
const ofHello = ['sni', 'alpn', 'ja4', 'tls'] as const;

/** The client of a case; undefined if something is wrong with it. */
async function assume(
  client: CaseClient,
  directory: string,
  report: Report,
): Promise<AssumedClient | undefined> {
  const { sni, alpn = [], from: address, peer, ja4, plain = false, tls, certificate, hello } = client;
  for (const key of plain ? ofTls : hello === undefined ? [] : ofHello) {
    if (client[key] === undefined) continue;
    report(key, plain ? 'only TLS clients have that, and this one is plain' : '`hello` says that by itself');
    return undefined;
  }
  const presented =
    certificate === undefined || certificate === 'none' ? certificate : resolve(directory, certificate);
  const certificates = presented && (await attempt('certificate', report, () => readCertificates(presented)));
  const sent = hello && (await attempt('hello', report, () => readHello(resolve(directory, hello))));
  if (certificates === 'faulty' || sent === 'faulty') return undefined;
  const versions = tls?.map((version) => tlsVersions[version] ?? 0);
  const said = sent || { ...anyClient, sni, alpn, ja4, plain, versions };
  return { ...said, address, peer, certificates: certificates || undefined };
}

/** The result of reading, or `faulty` after reporting why it failed. */
async function attempt<T>(
  key: keyof CaseClient,
  report: Report,
  read: () => T | Promise<T>,
): Promise<T | 'faulty'> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    report(key, error.message);
    return 'faulty';
  }
}

async function readHello(file: string): Promise<AssumedClient> {
  try {
    for await (const { read, error } of readHellos(createReadStream(file))) {
      if (read) return clientOf(read);
      throw new UsageError(`${file}: ${error.message}`);
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${file} cannot be read (${systemCode(error)})`);
  }
  throw new UsageError(`${file} has no ClientHello`);
}

function describe(listener: string, { sni, from, plain, hello, tls }: CaseClient): string {
  const what = plain ? 'a plain client' : (sni ?? hello ?? 'no name');
  return `${listener}: ${what}${tls ? ` TLS ${tls.join(' ')}` : ''}${from === undefined ? '' : ` from ${from}`}`;
}

function placeIn(yaml: ParsedYaml, index: number, key: keyof Expectation | undefined): Place {
  return yaml.locate(key === undefined ? ['cases', index] : ['cases', index, 'expect', key]);
}
