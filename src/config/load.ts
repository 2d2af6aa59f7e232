/**
 * Turns a text into a configuration that can be served: parses it, checks it, and reads every file it names.
 */
import { createHash } from 'node:crypto';
import type { SocketRights } from '../net/socket-file.ts';
import { ConfigError, type Finding, formatPath, type Path, type Report } from './finding.ts';
import { type ApiKey, loadApiKeys } from './material/api-keys.ts';
import { type LoadedAuthority, loadAuthorities } from './material/authorities.ts';
import { checkCaNames } from './material/ca-names.ts';
import { type LoadedCertificate, loadCertificates } from './material/certificates.ts';
import type { MaterialMemory } from './material/memory.ts';
import { loadSocketRights } from './material/socket-rights.ts';
import { loadTicketKeys, type TicketMasters } from './material/ticket-keys.ts';
import { type Added, type Adding, addedTo, withAdded, withContents } from './read/added.ts';
import { applyContext, leaveRoomForCluster, resolvePaths } from './read/context.ts';
import { createFiles, type Files } from './read/files.ts';
import type { Included } from './read/include.ts';
import { type WithIncluded, withIncluded } from './read/merge.ts';
import { parseText } from './read/parse.ts';
import { salvage } from './read/salvage.ts';
import type { ParsedYaml, Place } from './read/yaml.ts';
import { checkAdminApi } from './rules/admin-api.ts';
import { warnOfChannelBinding } from './rules/channel-binding.ts';
import { checkCoverage } from './rules/coverage.ts';
import { checkListeners } from './rules/listeners.ts';
import { checkReferences, type Names } from './rules/references.ts';
import { checkStarttls } from './rules/starttls.ts';
import { warnOfKeyLog } from './rules/tls.ts';
import { warnOfUnreachable } from './rules/unreachable.ts';
import { checkUpstreams } from './rules/upstreams.ts';
import { checkWarm } from './rules/warm.ts';
import { explainIssues } from './schema/issues.ts';
import { type Config, configSchema } from './schema/schema.ts';

export { ConfigError, type Finding, formatFinding } from './finding.ts';
export type { LoadedAuthority } from './material/authorities.ts';
export type { LoadedCertificate, LoadedPair } from './material/certificates.ts';
export type { Staple } from './material/ocsp.ts';
export type { TicketMasters } from './material/ticket-keys.ts';

/** A configuration as text. */
export type ConfigText = {
  /** In UTF-8, in memory shared between threads: copying ten megabytes takes ten milliseconds. */
  readonly text: SharedArrayBuffer;
  /** What findings call the file. */
  readonly name: string;
  /** Its relative paths are resolved against this. */
  readonly directory: string;
  /** What its `include` names, as of the same moment. */
  readonly included?: Included;
  /** What is to be served beside it, from a store. */
  readonly adding?: Adding;
};

export function sharedText(text: Uint8Array): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(text.byteLength);
  new Uint8Array(memory).set(text);
  return memory;
}

/** What `run` serves. All paths in `config` are absolute. Frozen in the process or thread that loaded it. */
export type LoadedConfig = {
  readonly config: Config;
  readonly certificates: ReadonlyMap<string, LoadedCertificate>;
  /** Includes `system`, which is large and so created on first use. */
  readonly authorities: ReadonlyMap<string, LoadedAuthority>;
  /** From `session_tickets.keys`; undefined if they are random. */
  readonly ticketMasters: TicketMasters | undefined;
  /** The SHA-256 of the contents of each `authorize` module, by its path. */
  readonly modules: ReadonlyMap<string, string>;
  /** For the Admin API. */
  readonly apiKeys: readonly ApiKey[];
  /** The permissions of unix socket files, by address. */
  readonly sockets: ReadonlyMap<string, SocketRights>;
  readonly warnings: readonly Finding[];
  /** Warnings that the file itself accepts. */
  readonly accepted?: readonly Finding[];
  /** Stored objects that are not served as they are, with the reasons. The warnings have them, too. */
  readonly held: readonly Finding[];
  /** Every file that was read and directory that was listed, absolute: whatever may change on its own. */
  readonly files: readonly string[];
};

/** Private keys and other secrets are not read, nor checked. */
type Known = { readonly withoutSecrets?: boolean | undefined };

/** Like `loadParsed`, from a text, and what is to be served beside it. */
export async function loadText(
  given: ConfigText,
  environment: NodeJS.ProcessEnv = process.env,
  known: Known = {},
): Promise<LoadedConfig> {
  return withoutFaulty(given, (adding) => loadOnce(given, adding, environment, known));
}

/** A faulty object of a store is held back, and the rest is loaded. */
export async function withoutFaulty<T>(
  given: ConfigText,
  load: (adding: Adding | undefined) => Promise<T>,
): Promise<T> {
  let { adding } = given;
  for (;;) {
    try {
      return await load(adding);
    } catch (error) {
      if (!adding || !(error instanceof ConfigError)) throw error;
      const { faulty } = adding.data;
      const known = new Set(faulty.map(({ file }) => file));
      const own = new Set([given.name, ...(given.included?.files ?? []).map((included) => included.name)]);
      const isOfFile = ({ file }: Finding) => own.has(file);
      if (error.findings.some(isOfFile) || error.findings.every(({ file }) => known.has(file))) throw error;
      adding = { ...adding, data: { ...adding.data, faulty: [...faulty, ...error.findings] } };
    }
  }
}

async function loadOnce(
  { text, name, directory, included }: ConfigText,
  adding: Adding | undefined,
  environment: NodeJS.ProcessEnv,
  { withoutSecrets = false }: Known,
): Promise<LoadedConfig> {
  const yaml = withIncluded(parseText(new Uint8Array(text), environment), included, environment);
  const added = await addedTo(yaml.raw, adding);
  const files = withContents(createFiles({ withoutSecrets }), added?.files);
  const { directoryOf } = yaml;
  const loaded = await loadParsed(withAdded(yaml, added), { name, directory, directoryOf, files });
  return withHeld(loaded, added);
}

/** With what was found before the objects of a store were checked. */
export function withHeld(loaded: LoadedConfig, added: Added | undefined): LoadedConfig {
  const { held = [], warnings = [] } = added ?? {};
  return { ...loaded, held, warnings: [...loaded.warnings, ...held, ...warnings] };
}

/** Where a configuration was parsed from: what findings call it, and how the files it names are read. */
export type Origin = Pick<ConfigText, 'name' | 'directory'> & {
  /** Absent: everything is from one file. */
  readonly directoryOf?: WithIncluded['directoryOf'];
  readonly files: Files;
  /** Remembers certificates and authorities whose files have not changed. */
  readonly material?: MaterialMemory | undefined;
  /** The names there are, if `yaml` does not have all of them. */
  readonly names?: Names;
  /** The place of a route in the whole, if `yaml` does not have all of them. */
  readonly placeOf?: (listener: string, index: number) => number;
};

/** Like `checkParsed`, without the warnings as they were found. */
export async function loadParsed(yaml: ParsedYaml, origin: Origin): Promise<LoadedConfig> {
  return (await checkParsed(yaml, origin)).loaded;
}

/** A warning, and the path in the configuration that it is about. */
export type Warned = { readonly path: Path; readonly message: string; readonly hint: string | undefined };
export type Checked = { readonly loaded: LoadedConfig; readonly warned: readonly Warned[] };

/**
 * Checks a configuration and reads everything it names. Rejects with a ConfigError that has all faults,
 * sorted by position. May change `yaml.raw` and its listeners, but nothing further in.
 */
export async function checkParsed(
  yaml: ParsedYaml,
  { name, directory, directoryOf, files, material, names, placeOf }: Origin,
): Promise<Checked> {
  const findings = createFindings(name, yaml);
  const config = parse(yaml, findings, names);
  if (config === undefined) throw new ConfigError(sorted(findings.faults));
  applyContext(config);
  resolvePaths(config, (path) => directoryOf?.(findings.translate.written(path)) ?? directory);
  checkListeners(config, findings.report);
  checkUpstreams(config, findings.report);
  checkWarm(config, findings.report);
  checkStarttls(config, findings.report);
  checkAdminApi(config, findings.report);
  const modules = await readModules(config, files, findings.report);
  const certificates = await loadCertificates(config, files, findings.report, material);
  const authorities = await loadAuthorities(config, files, findings.report, material);
  checkCaNames(config, authorities, findings.report);
  const ticketMasters = await loadTicketKeys(config, files, findings.report);
  const apiKeys = await loadApiKeys(config, files, findings.report);
  const sockets = await loadSocketRights(config, findings.report);
  if (findings.faults.length > 0) throw new ConfigError(sorted(findings.faults));
  checkCoverage(config, certificates, findings.report);
  warnOfChannelBinding(config, certificates, findings.report);
  warnOfUnreachable(config, findings.report, placeOf);
  warnOfKeyLog(config, findings.report);
  freeze(config);
  const warnings = placed(findings.warned, name, yaml);
  const read = { certificates, authorities, ticketMasters, modules, apiKeys, sockets };
  return {
    loaded: { config, ...read, warnings, held: [], files: files.all() },
    warned: findings.warned,
  };
}

/** Warnings with their places, sorted by position. */
export function placed(
  warned: readonly Warned[],
  file: string,
  { locate }: Pick<ParsedYaml, 'locate'>,
): Finding[] {
  return sorted(warned.map(({ path, message, hint }) => found(file, locate(path), message, hint)));
}

function found(file: string, place: Place, message: string, hint: string | undefined): Finding {
  const { file: own = file, line, column, path } = place;
  return { file: own, line, column, path: formatPath(path), message, ...(hint && { hint }) };
}

type Findings = {
  readonly file: string;
  readonly faults: Finding[];
  readonly warned: Warned[];
  readonly faultAt: (place: Place, message: string, hint: string | undefined) => void;
  readonly report: Report;
  /** Maps what is left after removing faulty parts back to the file. */
  translate: { written: (path: Path) => Path; wasCut: (path: Path) => boolean };
};

function createFindings(file: string, yaml: ParsedYaml): Findings {
  const faults = yaml.faults.map((fault) => found(file, fault, fault.message, fault.hint));
  const faultAt = (place: Place, message: string, hint: string | undefined) => {
    // A value whose variable is missing cannot be checked any further.
    const isKnown = yaml.faults.some((fault) => isSame(fault, place));
    if (!isKnown) faults.push(found(file, place, message, hint));
  };
  const warned: Warned[] = [];
  const findings: Findings = {
    file,
    faults,
    warned,
    faultAt,
    translate: { written: (path) => path, wasCut: () => false },
    report: {
      fault: (path, message, hint) => faultAt(place(path), message, hint),
      lack(path, message, hint) {
        if (!findings.translate.wasCut(path)) faultAt(place(path), message, hint);
      },
      warn: (path, message, hint) => warned.push({ path: findings.translate.written(path), message, hint }),
    },
  };
  const place = (path: Path) => yaml.locate(findings.translate.written(path));
  return findings;
}

type Position = Pick<Place, 'file' | 'line' | 'column'>;

function isSame(one: Position, other: Position): boolean {
  return one.line === other.line && one.column === other.column && one.file === other.file;
}

/** The configuration, or if it has faults, whatever can be kept, so that the rest is checked too. */
function parse(yaml: ParsedYaml, findings: Findings, names: Names | undefined): Config | undefined {
  if (yaml.raw === undefined) return undefined;
  leaveRoomForCluster(yaml.raw);
  const parsed = configSchema.safeParse(yaml.raw);
  const faults = parsed.success ? [] : explainIssues(parsed.error.issues, yaml.raw);
  for (const { path, at, message, hint } of faults) findings.faultAt(yaml.locate(path, at), message, hint);
  // Names count as known even if the part they name is faulty, and references are checked even in faulty
  // parts.
  checkReferences(yaml.raw, names ?? namesIn(yaml.raw), {
    fault(path, message, hint) {
      const place = yaml.locate(path);
      const { file: own = findings.file } = place;
      if (!findings.faults.some((fault) => isSame(fault, { ...place, file: own })))
        findings.faultAt(place, message, hint);
    },
  });
  if (parsed.success) return parsed.data;
  // What is as before is shared with other loads, and may not change.
  const { config, ...translate } = salvage(structuredClone(yaml.raw), faults);
  findings.translate = translate;
  return config;
}

/** The names in each section, as written. */
export function namesIn(raw: unknown): Names {
  const keys = (section: string): string[] => {
    const value = (raw as Record<string, unknown> | undefined)?.[section];
    return typeof value === 'object' && value !== null ? Object.keys(value) : [];
  };
  return {
    certificates: keys('certificates'),
    authorities: ['system', ...keys('authorities')],
    upstreams: keys('upstreams'),
  };
}

/** The SHA-256 of each module's contents, by its path. */
async function readModules(config: Config, files: Files, report: Report): Promise<Map<string, string>> {
  const digests = new Map<string, string>();
  for (const [name, { routes }] of Object.entries(config.listeners)) {
    for (const [index, { tls }] of routes.entries()) {
      const module = typeof tls === 'object' ? tls.client_auth?.authorize : undefined;
      const path = ['listeners', name, 'routes', index, 'tls', 'client_auth', 'authorize'];
      const content = module === undefined ? undefined : await files.read(module, path, report);
      if (module !== undefined && content)
        digests.set(module, createHash('sha256').update(content).digest('hex'));
    }
  }
  return digests;
}

function sorted(findings: Finding[]): Finding[] {
  const unique = new Map(findings.map((finding) => [JSON.stringify(finding), finding]));
  return [...unique.values()].sort((a, b) => a.line - b.line || a.column - b.column);
}

function freeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return;
  Object.freeze(value);
  // To make a list of the values of each of a hundred thousand routes would take longer than all the rest.
  if (Array.isArray(value)) for (const inner of value) freeze(inner);
  else for (const key in value) freeze((value as Record<string, unknown>)[key]);
}
