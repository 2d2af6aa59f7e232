/** Opens the etcd that a machine's file names. */
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import type { Report } from '../config/finding.ts';
import { ConfigError, describeFaults, type Finding } from '../config/finding.ts';
import type { LoadedConfig } from '../config/load.ts';
import { parseSecrets } from '../config/material/ticket-keys.ts';
import { createFiles } from '../config/read/files.ts';
import type { ClusterConfig } from '../config/schema/schema.ts';
import { type Credentials, createEtcd, type Etcd } from './etcd/etcd.ts';
import { type Keys, keysOf } from './keys.ts';
import { wholeObject } from './objects.ts';
import { createSeal, type Seal } from './seal.ts';

export type Cluster = {
  readonly config: ClusterConfig;
  readonly machine: string;
  readonly etcd: Etcd;
  readonly keys: Keys;
  /** Another one after a reload, if the secrets have changed. */
  seal: Seal;
};

/** Rejects with a ConfigError if the secrets or the password cannot be read. */
export async function openCluster(loaded: LoadedConfig, config: ClusterConfig): Promise<Cluster> {
  const { etcd } = config;
  return {
    config,
    machine: config.machine ?? hostname(),
    keys: keysOf({ prefix: etcd.prefix, name: config.name }),
    seal: await openSeal(config.seal, ['cluster', 'seal']),
    etcd: createEtcd({ endpoints: etcd.endpoints, ...(await readCredentials(loaded, etcd)) }),
  };
}

type Materials = Pick<LoadedConfig, 'config' | 'authorities' | 'certificates'>;

/** A certificate may be a new one: the one before would expire, and etcd no longer know this machine. */
export async function useCredentials(
  { etcd, config }: Cluster,
  loaded: Materials,
  logger: Logger | undefined,
): Promise<void> {
  try {
    etcd.use(await readCredentials(loaded, (loaded.config.cluster ?? config).etcd));
  } catch (error) {
    const faults = describeFaults(error);
    logger?.error({ faults }, 'cluster.etcd.password_file cannot be read: the former password is used');
  }
}

/** Rejects with a ConfigError if the password cannot be read. */
async function readCredentials(
  { authorities, certificates }: Materials,
  etcd: ClusterConfig['etcd'],
): Promise<Credentials> {
  const certificate =
    etcd.certificate === undefined ? undefined : certificates.get(etcd.certificate)?.pairs[0];
  const password = await readPassword(etcd.password_file);
  return {
    ca: authorities.get(etcd.authority)?.ca ?? [],
    crl: authorities.get(etcd.authority)?.crl ?? [],
    ...(certificate && { certificate }),
    ...(etcd.user !== undefined && password !== undefined && { login: { user: etcd.user, password } }),
  };
}

async function readPassword(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  const [content, report] = await readNamed(file, ['cluster', 'etcd', 'password_file']);
  if (content === undefined) throw new ConfigError(report);
  return content.toString('utf8').split(/\r?\n/)[0];
}

/** Rejects with a ConfigError if the file has no secrets; `path` is where the configuration names it. */
export async function openSeal(file: string, path: readonly string[]): Promise<Seal> {
  return createSeal(await readSecrets(file, path));
}

async function readSecrets(file: string, path: readonly string[]): Promise<Buffer[]> {
  const [content, faults] = await readNamed(file, path);
  const secrets = content && parseSecrets(content.toString('latin1'), file, path, reportTo(faults, file));
  if (secrets?.length === 0)
    faults.push(wholeObject(file, 'it holds no secret', '`penstock cluster seal --new` prints one'));
  if (secrets === undefined || faults.length > 0) throw new ConfigError(faults);
  return secrets;
}

async function readNamed(file: string, path: readonly string[]): Promise<[Buffer | undefined, Finding[]]> {
  const faults: Finding[] = [];
  const content = await createFiles().read(file, path, reportTo(faults, file));
  if (content) await warnIfReadable(file);
  return [content, faults];
}

const warned = new Set<string>();

/** Once; at the start there is no log yet. */
export async function warnIfReadable(file: string): Promise<void> {
  if (warned.has(file) || !(await createFiles().isReadableByOthers(file))) return;
  warned.add(file);
  process.stderr.write(`penstock: ${file} can be read by every user of this machine; chmod o-r ${file}\n`);
}

function reportTo(faults: Finding[], file: string): Report {
  const fault = (_: unknown, message: string, hint?: string) =>
    void faults.push(wholeObject(file, message, hint));
  return { fault, lack: fault, warn: () => {} };
}
