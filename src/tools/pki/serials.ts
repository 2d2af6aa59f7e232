/**
 * Which certificates were issued under a name: the one that the directory holds, and those that
 * `pki issue --force` has replaced while they were valid. The files of the latter are gone, so their serials
 * are kept in `ca.replaced`: one line each, "SERIAL END NAME". Serials are in upper-case hex, like Node's.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { caFiles, fault, filesOf, readCertificate, writeAll } from './directory.ts';

/** Every one that can be revoked; throws ERR_CONFIG if there are none. */
export function serialsUnder(directory: string, name: string, onlyReplaced: boolean): readonly string[] {
  const replaced = replacedUnder(directory, name);
  const current = onlyReplaced ? undefined : currentSerial(directory, name);
  const serials = current === undefined ? replaced : [current, ...replaced];
  if (serials.length > 0) return serials;
  if (onlyReplaced) {
    throw fault(
      `no certificate of ${name} was replaced while it was valid`,
      `see penstock pki list ${directory}`,
    );
  }
  const path = filesOf(directory, name).cert;
  readCertificate(path);
  throw fault(
    `${path} was not issued by the CA in ${directory}`,
    'a self-signed certificate is revoked by taking its pin out of the configuration',
  );
}

/** That of the certificate which the directory holds, if the CA there has issued it. */
export function currentSerial(directory: string, name: string): string | undefined {
  const path = filesOf(directory, name).cert;
  if (!existsSync(path)) return undefined;
  const certificate = readCertificate(path);
  const issuer = readCertificate(caFiles(directory).cert);
  return certificate.verify(issuer.publicKey) ? certificate.serialNumber : undefined;
}

/** Remembers one that is about to be replaced, and forgets those that have expired. */
export function rememberReplaced(
  directory: string,
  name: string,
  { serial, end }: { readonly serial: string; readonly end: Date },
): void {
  const line = `${serial} ${end.toISOString()} ${baseOf(directory, name)}`;
  writeAll({ [fileIn(directory)]: `${[...validLines(directory), line].join('\n')}\n` });
}

/** For a new CA, which has issued none of them. */
export function forgetReplaced(directory: string): void {
  rmSync(fileIn(directory), { force: true });
}

function replacedUnder(directory: string, name: string): string[] {
  const base = baseOf(directory, name);
  return validLines(directory)
    .map((line) => line.split(' '))
    .flatMap(([serial = '', , under]) => (under === base ? [serial] : []));
}

function validLines(directory: string): string[] {
  const file = fileIn(directory);
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => Date.parse(line.split(' ')[1] ?? '') > Date.now());
}

function fileIn(directory: string): string {
  return join(directory, 'ca.replaced');
}

/** The name as files have it, without `*`. */
function baseOf(directory: string, name: string): string {
  return basename(filesOf(directory, name).cert, '.crt');
}
