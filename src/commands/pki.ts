/**
 * `penstock pki`: a development CA in a directory. Makes and revokes certificates, and prints the configuration that uses
 * them. Not for production: the CA's key lies in the directory unencrypted.
 */
import { randomBytes, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { ProxyError, systemCode } from '../errors.ts';
import {
  caFiles,
  fault,
  filesOf,
  readCa,
  readCertificate,
  refuseToOverwrite,
  writeAll,
} from '../pki/directory.ts';
import { parseSubjectAltName, type SubjectAltName } from '../pki/subject-alt-name.ts';

/** Where the words go: what was made, and faults. */
export type Output = { out(text: string): unknown; err(text: string): unknown };

export type IssueOptions = {
  /** For a client; otherwise for a server. */
  readonly client?: boolean;
  /** Default: the name itself. */
  readonly san?: readonly string[];
  /** Default: 365. Never beyond the CA's own end. */
  readonly days?: string | number;
  readonly selfSigned?: boolean;
  readonly force?: boolean;
};

/** Adds `pki init`, `pki issue` and `pki revoke`; they set the exit code of the process. */
export function addPkiCommand(program: Command, output: Output = terminal): void {
  const pki = program.command('pki').description('a development CA: certificates, keys, CRL');
  pki
    .command('init')
    .description('make a CA in a directory: ca.crt, ca.key, ca.crl')
    .argument('<dir>', 'the directory; made if missing')
    .option('--force', 'replace the CA that is there')
    .action(async (dir, options) => {
      process.exitCode = await pkiInit(dir, options, output);
    });
  pki
    .command('issue')
    .description('make a certificate and its key: NAME.crt, NAME.key')
    .argument('<dir>', 'the directory of the CA')
    .argument('<name>', 'host name, address, or name of the client')
    .option('--client', 'for a client (default: for a server)')
    .option('--san <name...>', 'dns:NAME, ip:ADDRESS, uri:URI or email:ADDRESS (default: the name itself)')
    .option('--days <n>', 'how long it is valid', '365')
    .option('--self-signed', 'not signed by the CA: trusted by its pin, which is printed')
    .option('--force', 'replace the one that is there')
    .action(async (dir, name, options) => {
      process.exitCode = await pkiIssue(dir, name, options, output);
    });
  pki
    .command('revoke')
    .description('add a certificate to the CRL of its CA')
    .argument('<dir>', 'the directory of the CA')
    .argument('<name>', 'the name that it was issued by')
    .action(async (dir, name) => {
      process.exitCode = await pkiRevoke(dir, name, output);
    });
}

/** Makes the CA and its empty CRL. Resolves to the exit code: 0, 1 (the system refused), 2 (usage). */
export async function pkiInit(
  directory: string,
  options: { readonly force?: boolean } = {},
  output: Output = terminal,
): Promise<number> {
  return reportFaults(output, async () => {
    const files = caFiles(directory);
    refuseToOverwrite(files, options.force === true);
    const { createCa, createCrl } = await issuing();
    // Names of CAs should differ: two alike in one trust store are told apart by their keys only.
    const ca = await createCa({ cn: `penstock development CA ${randomBytes(3).toString('hex')}` });
    const crl = await createCrl(ca, { revoked: [], nextUpdate: endOf(ca.cert, files.cert) });
    writeAll({ [files.key]: ca.key, [files.cert]: ca.cert, [files.crl]: crl });
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
    const asked = new Date(Date.now() + daysOf(options) * 86_400_000);
    const ca = options.selfSigned ? undefined : readCa(directory);
    const caEnd = ca ? endOf(ca.cert, caFiles(directory).cert) : asked;
    const notAfter = asked < caEnd ? asked : caEnd;
    refuseToOverwrite(files, options.force === true);
    const valuesOf = (kind: SubjectAltName['kind']) =>
      names.filter((san) => san.kind === kind).map(({ value }) => value);
    const leaf = {
      // X.520 bounds a common name to 64 characters; longer names are in the SAN alone.
      cn: name.length <= 64 ? name : undefined,
      dns: valuesOf('dns'),
      ip: valuesOf('ip'),
      uri: valuesOf('uri'),
      email: valuesOf('email'),
      usage: options.client ? ('client' as const) : ('server' as const),
      notAfter,
    };
    const { issue, selfSigned } = await issuing();
    const made = ca ? await issue(ca, leaf) : await selfSigned(leaf);
    writeAll({ [files.key]: made.key, [files.cert]: made.chain });
    output.out(
      `made ${files.cert} and ${files.key}, valid until ${day(notAfter)}\n\n` +
        stringify({ certificates: { [configName(name)]: { cert: files.cert, key: files.key } } }) +
        `\n${howToTrust(name, names, made.pin, options)}`,
    );
  });
}

/** Adds the certificate to the CRL. Resolves to the exit code, as `pkiInit`. */
export async function pkiRevoke(directory: string, name: string, output: Output = terminal): Promise<number> {
  return reportFaults(output, async () => {
    const ca = readCa(directory);
    const files = caFiles(directory);
    const path = filesOf(directory, name).cert;
    const certificate = readCertificate(path);
    if (!certificate.verify(readCertificate(files.cert).publicKey)) {
      throw fault(
        `${path} was not issued by the CA in ${directory}`,
        'a self-signed certificate is revoked by taking its pin out of the configuration',
      );
    }
    const { createCrl, revocationsIn } = await issuing();
    const revoked = existsSync(files.crl) ? revocationsIn(readFileSync(files.crl, 'utf8')) : [];
    const serial = certificate.serialNumber;
    if (revoked.some((entry) => entry.serial === serial)) {
      output.out(`${path} is revoked already\n`);
      return;
    }
    const nextUpdate = endOf(ca.cert, files.cert);
    const crl = await createCrl(ca, { revoked: [...revoked, { serial, date: new Date() }], nextUpdate });
    writeAll({ [files.crl]: crl });
    output.out(`revoked ${path} (serial ${serial}) in ${files.crl}\n`);
  });
}

const terminal: Output = {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
};

/** The library takes a quarter of a second to load, which no other command should pay. */
function issuing() {
  return import('../pki/issue.ts');
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
    // A disk that is full or read-only; anything without a code is a fault of ours.
    if (systemCode(error) === '') throw error;
    output.err(`${(error as Error).message}\n`);
    return 1;
  }
}

function namesOf(name: string, { san }: IssueOptions): SubjectAltName[] {
  return (san ?? [name]).map(parseSubjectAltName);
}

function daysOf({ days = 365 }: IssueOptions): number {
  const number = Number(days);
  if (Number.isInteger(number) && number >= 1 && number <= 36_500) return number;
  throw fault(`--days ${days} is no number of days`, 'expected 1 to 36500');
}

/** The last moment of a certificate; throws ERR_CONFIG if it has passed. */
function endOf(cert: string, path: string): Date {
  const end = new Date(new X509Certificate(cert).validTo);
  if (end.getTime() > Date.now()) return end;
  throw fault(`${path} expired on ${day(end)}`, 'make a new CA: penstock pki init DIR --force');
}

function day(date: Date): string {
  return date.toISOString().slice(0, 10);
}

/** A name of the certificate that the configuration takes. */
function configName(name: string): string {
  return name
    .replaceAll('*', 'wildcard')
    .replace(/[^A-Za-z0-9_.-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 63);
}

function howToTrust(
  name: string,
  names: readonly SubjectAltName[],
  pin: string,
  options: IssueOptions,
): string {
  const { client, selfSigned } = options;
  if (client && selfSigned) {
    return `a route lets this client in by\n\n${stringify({ tls: { client_auth: { mode: 'require', pins: [pin] } } })}`;
  }
  if (client) {
    const known = names.find(({ kind }) => kind !== 'ip');
    const rule = known ? { [known.kind]: known.value } : { cn: name };
    const client_auth = { mode: 'require', authority: 'dev', allow: [rule] };
    return `a route lets this client in by\n\n${stringify({ tls: { client_auth } })}`;
  }
  if (selfSigned) {
    return `an upstream that presents it is trusted by\n\n${stringify({ tls: { verify: 'pin', pins: [pin] } })}`;
  }
  return `a route presents it by\n\n${stringify({ tls: { certificates: [configName(name)] } })}`;
}
