/**
 * The directory of a development CA: `ca.crt`, `ca.key`, `ca.crl`, and NAME.crt and NAME.key for each
 * certificate.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ProxyError } from '../../errors.ts';

/** The files of one certificate. */
export type Files = { readonly cert: string; readonly key: string };

/**
 * The files for a name; `*` becomes `_wildcard`, which is easier for shells and people. Throws ERR_CONFIG if
 * the name would leave the directory, hide, or replace the CA.
 */
export function filesOf(directory: string, name: string): Files {
  if (!/^[A-Za-z0-9_*:][A-Za-z0-9_.*:@+-]{0,252}$/.test(name) || name.toLowerCase() === 'ca') {
    throw fault(
      `"${name}" cannot name a certificate`,
      'use a host name, an IP address, an e-mail address or a word of letters, digits, ".", "-" and "_"; not "ca"',
    );
  }
  const base = join(directory, name.replaceAll('*', '_wildcard'));
  return { cert: `${base}.crt`, key: `${base}.key` };
}

/** The files of the CA. */
export function caFiles(directory: string): Files & { readonly crl: string } {
  const base = join(directory, 'ca');
  return { cert: `${base}.crt`, key: `${base}.key`, crl: `${base}.crl` };
}

/** Reads the CA; throws ERR_CONFIG if there is none, or if its certificate and key do not belong together. */
export function readCa(directory: string): { cert: string; key: string; chain: string } {
  const files = caFiles(directory);
  if (!existsSync(files.cert) || !existsSync(files.key)) {
    throw fault(`there is no CA in ${directory}`, `make one first: penstock pki init ${directory}`);
  }
  const key = readFileSync(files.key, 'utf8');
  if (!readCertificate(files.cert).checkPrivateKey(privateKey(key, files.key))) {
    throw fault(
      `${files.key} is not the key of ${files.cert}`,
      `make a new CA: penstock pki init ${directory} --force`,
    );
  }
  return { cert: readFileSync(files.cert, 'utf8'), key, chain: '' };
}

/** Reads a certificate in the directory; throws ERR_CONFIG if it is missing or not a certificate. */
export function readCertificate(path: string): X509Certificate {
  if (!existsSync(path)) throw fault(`there is no ${path}`, 'check the name');
  try {
    return new X509Certificate(readFileSync(path));
  } catch (cause) {
    throw fault(`${path} holds no certificate`, 'expected PEM', cause);
  }
}

/** Throws ERR_CONFIG if one of the files already exists, unless `force`. */
export function refuseToOverwrite(files: Files, force: boolean): void {
  const existing = [files.key, files.cert].find((path) => existsSync(path));
  if (existing !== undefined && !force) {
    throw fault(`${existing} exists already`, '--force replaces it');
  }
}

/**
 * Writes the texts to their paths. Keys (`.key`) and a new directory are accessible only to the owner. A link
 * stays a link; a device or a pipe is written to, since a file in place of /dev/null breaks the machine.
 */
export function writeAll(texts: Readonly<Record<string, string>>): void {
  for (const [named, text] of Object.entries(texts)) {
    mkdirSync(dirname(named), { recursive: true, mode: 0o700 });
    const path = existsSync(named) ? realpathSync(named) : named;
    if (existsSync(path) && !statSync(path).isFile()) {
      writeFileSync(path, text);
      continue;
    }
    // Writes by rename, so that a running penstock never reads half a file, and a file readable by others
    // does not stay so.
    const temporary = join(dirname(path), `.${basename(path)}.${process.pid}`);
    writeFileSync(temporary, text, { mode: path.endsWith('.key') ? 0o600 : 0o644, flag: 'wx' });
    renameSync(temporary, path);
  }
}

/** A usage error: exit code 2. */
export function fault(message: string, hint: string, cause?: unknown): ProxyError {
  return new ProxyError('ERR_CONFIG', { side: 'proxy', message, hint, cause });
}

function privateKey(pem: string, path: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw fault(`${path} holds no key that can be read`, 'expected PEM without a passphrase', cause);
  }
}
