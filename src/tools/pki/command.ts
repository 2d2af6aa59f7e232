/**
 * `penstock pki`: a development CA in a directory. Makes and revokes certificates, and prints the
 * configuration that uses them. Not for production: the CA's key is stored in the directory unencrypted.
 */
import { randomBytes, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { stringify } from 'yaml';
import { ProxyError, systemCode } from '../../errors.ts';
import { configName, howToTrust } from './advice.ts';
import type { PkiConfigOptions } from './config.ts';
import {
  caFiles,
  fault,
  filesOf,
  readCa,
  readCertificate,
  refuseToOverwrite,
  writeAll,
} from './directory.ts';
import type { Revocation } from './issue.ts';
import { currentSerial, forgetReplaced, rememberReplaced, serialsUnder } from './serials.ts';
import { isSpiffe } from './spiffe.ts';
import { parseSubjectAltName, type SubjectAltName } from './subject-alt-name.ts';

/** Where output goes: what was made, and faults. */
export type Output = { out(text: string): unknown; err(text: string): unknown };

export type IssueOptions = {
  /** For a client; without this, or with `server`, for a server. */
  readonly client?: boolean;
  readonly server?: boolean;
  /** Default: the name itself. */
  readonly san?: readonly string[];
  /** Default: 365. Never beyond the CA's own end. */
  readonly days?: string | number;
  readonly selfSigned?: boolean;
  /** An RSA key of 2048 bits; otherwise P-256. */
  readonly rsa?: boolean;
  readonly force?: boolean;
};

type InitOptions = {
  /** The CA's common name. Default: a generated one. */
  readonly name?: string;
  /** Default: 3650. */
  readonly days?: string | number;
  readonly force?: boolean;
};

/** Makes the CA and its empty CRL. Resolves with the exit code: 0, 1 (the system refused), 2 (usage). */
export async function pkiInit(
  directory: string,
  options: InitOptions = {},
  output: Output = terminal,
): Promise<number> {
  return reportFaults(output, async () => {
    const files = caFiles(directory);
    refuseToOverwrite(files, options.force === true);
    const notAfter = inDays(options.days ?? 3650);
    // Names of CAs should differ: otherwise two in one trust store differ only by their keys.
    const cn = options.name ?? `penstock development CA ${randomBytes(3).toString('hex')}`;
    if (cn === '' || cn.length > 64) throw fault('--name is of no use', 'expected 1 to 64 characters');
    const { createCa, createCrl } = await issuing();
    const ca = await createCa({ cn, notAfter });
    const crl = await createCrl(ca, { revoked: [], nextUpdate: endOf(ca.cert, files.cert) });
    writeAll({ [files.key]: ca.key, [files.cert]: ca.cert, [files.crl]: crl });
    // Another CA issued those.
    forgetReplaced(directory);
    warnOfMode(directory, output);
    output.out(
      `made a CA for development, valid until ${day(endOf(ca.cert, files.cert))}; trust it by\n\n` +
        stringify({ authorities: { dev: { ca: files.cert, crl: files.crl } } }) +
        `\nand issue certificates by: penstock pki issue ${directory} NAME\n`,
    );
  });
}

/** Makes a certificate and its key. Resolves to the exit code, as `pkiInit`. */
export async function pkiIssue(
  directory: string,
  name: string,
  options: IssueOptions = {},
  output: Output = terminal,
): Promise<number> {
  return reportFaults(output, async () => {
    const files = filesOf(directory, name);
    const names = namesOf(name, options);
    const isForBoth = isSpiffe(names) || (options.client === true && options.server === true);
    const asked = inDays(options.days ?? 365);
    const ca = options.selfSigned ? undefined : readCa(directory);
    const caEnd = ca ? endOf(ca.cert, caFiles(directory).cert) : asked;
    const notAfter = asked < caEnd ? asked : caEnd;
    refuseToOverwrite(files, options.force === true);
    const replaced = await stillGood(files.cert, caFiles(directory));
    const valuesOf = (kind: SubjectAltName['kind']) =>
      names.filter((san) => san.kind === kind).map(({ value }) => value);
    const leaf = {
      // X.520 limits a common name to 64 characters; longer names are only in the SAN.
      cn: name.length <= 64 ? name : undefined,
      dns: valuesOf('dns'),
      ip: valuesOf('ip'),
      uri: valuesOf('uri'),
      email: valuesOf('email'),
      usage: isForBoth ? ('both' as const) : options.client ? ('client' as const) : ('server' as const),
      keyType: options.rsa ? ('rsa' as const) : ('ec' as const),
      notAfter,
    };
    const { issue, selfSigned } = await issuing();
    const made = ca ? await issue(ca, leaf) : await selfSigned(leaf);
    // First: once its file is gone, nothing else has its serial.
    if (replaced) rememberReplaced(directory, name, replaced);
    writeAll({ [files.key]: made.key, [files.cert]: made.chain });
    warnOfMode(directory, output);
    if (replaced)
      output.err(
        `the replaced certificate is valid until ${day(replaced.end)}, ` +
          `unless you revoke it: penstock pki revoke ${directory} ${name} --replaced\n`,
      );
    const { client = false, selfSigned: alone = false } = options;
    output.out(
      `made ${files.cert} and ${files.key}, valid until ${day(notAfter)}\n\n` +
        stringify({ certificates: { [configName(name)]: { cert: files.cert, key: files.key } } }) +
        `\n${howToTrust({ name, names, pin: made.pin, client, selfSigned: alone, isForBoth })}`,
    );
  });
}

type RevokeOptions = {
  /** Only those that `pki issue --force` has replaced: the present one stays valid. */
  readonly replaced?: boolean;
};

/**
 * Adds to the CRL every certificate that was issued under this name and has not expired. Resolves to the exit
 * code, as `pkiInit`.
 */
export async function pkiRevoke(
  directory: string,
  name: string,
  options: RevokeOptions = {},
  output: Output = terminal,
): Promise<number> {
  return reportFaults(output, async () => {
    const ca = readCa(directory);
    const files = caFiles(directory);
    const serials = serialsUnder(directory, name, options.replaced === true);
    const { createCrl } = await issuing();
    const revoked = await revokedBy(files);
    const fresh = serials.filter((serial) => !revoked.some((entry) => entry.serial === serial));
    if (fresh.length === 0) {
      output.out(`${filesOf(directory, name).cert} is revoked already\n`);
      return;
    }
    const now = fresh.map((serial) => ({ serial, date: new Date() }));
    const nextUpdate = endOf(ca.cert, files.cert);
    writeAll({ [files.crl]: await createCrl(ca, { revoked: [...revoked, ...now], nextUpdate }) });
    const current = currentSerial(directory, name);
    for (const serial of fresh) {
      const which = serial === current ? filesOf(directory, name).cert : `a replaced certificate of ${name}`;
      output.out(`revoked ${which} (serial ${serial}) in ${files.crl}\n`);
    }
  });
}

/** Prints what the directory holds. Resolves to the exit code, as `pkiInit`. */
export async function pkiList(directory: string, output: Output = terminal): Promise<number> {
  return reportFaults(output, async () => {
    const { listPki } = await import('./list.ts');
    output.out(listPki(directory, await issuing()) || `${directory} holds no certificates\n`);
  });
}

/** Prints a configuration that uses what the directory holds. Resolves to the exit code, as `pkiInit`. */
export async function pkiConfig(
  directory: string,
  options: PkiConfigOptions = {},
  output: Output = terminal,
): Promise<number> {
  return reportFaults(output, async () => {
    const { configForPki } = await import('./config.ts');
    output.out(configForPki(directory, await issuing(), options));
  });
}

const terminal: Output = {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
};

/** The library takes a quarter of a second to load, which should not delay other commands. */
function issuing() {
  return import('./issue.ts');
}

async function reportFaults(output: Output, work: () => Promise<void>): Promise<number> {
  try {
    await work();
    return 0;
  } catch (error) {
    if (error instanceof ProxyError) {
      output.err(`${error.message}; ${error.hint}\n`);
      return 2;
    }
    // A full or read-only disk, for example; an error without a code is our own bug.
    if (systemCode(error) === '') throw error;
    output.err(`${(error as Error).message}\n`);
    return 1;
  }
}

function namesOf(name: string, { san }: IssueOptions): SubjectAltName[] {
  return (san ?? [name]).map(parseSubjectAltName);
}

function inDays(days: string | number): Date {
  const number = Number(days);
  if (Number.isInteger(number) && number >= 1 && number <= 36_500)
    return new Date(Date.now() + number * 86_400_000);
  throw fault(`--days ${days} is not a number of days`, 'expected 1 to 36500');
}

/** The existing certificate, if this CA has issued it, and neither has it expired nor was it revoked. */
async function stillGood(
  path: string,
  ca: ReturnType<typeof caFiles>,
): Promise<{ serial: string; end: Date } | undefined> {
  if (!existsSync(path) || !existsSync(ca.cert)) return undefined;
  const certificate = readCertificate(path);
  const { serialNumber: serial } = certificate;
  const end = new Date(certificate.validTo);
  if (end.getTime() <= Date.now() || !certificate.verify(readCertificate(ca.cert).publicKey))
    return undefined;
  return (await revokedBy(ca)).some((entry) => entry.serial === serial) ? undefined : { serial, end };
}

async function revokedBy({ crl }: ReturnType<typeof caFiles>): Promise<readonly Revocation[]> {
  const { revocationsIn } = await issuing();
  return existsSync(crl) ? revocationsIn(readFileSync(crl, 'utf8')) : [];
}

/** An existing directory keeps its mode, and anyone who may write to it can replace a key. */
function warnOfMode(directory: string, output: Output): void {
  const mode = statSync(directory).mode & 0o777;
  if ((mode & 0o077) === 0) return;
  output.err(`others have access to ${directory} (mode 0${mode.toString(8)}): chmod 700 ${directory}\n`);
}

/** The last moment of a certificate; throws ERR_CONFIG if it has passed. */
function endOf(cert: string, path: string): Date {
  const end = new Date(new X509Certificate(cert).validTo);
  if (end.getTime() > Date.now()) return end;
  throw fault(`${path} expired on ${day(end)}`, `make a new CA: penstock pki init ${dirname(path)} --force`);
}

function day(date: Date): string {
  return date.toISOString().slice(0, 10);
}
