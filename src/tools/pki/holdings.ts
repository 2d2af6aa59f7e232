/** Reads a directory for `pki list` and `pki config`. */
import type { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { caFiles, fault } from './directory.ts';
import { type Held, inventory } from './inventory.ts';

/** Functions of the library that takes a quarter of a second to load. */
export type Issuing = Pick<typeof import('./issue.ts'), 'revocationsIn'>;

/** Every certificate except the CA's; throws ERR_CONFIG if there is no such directory. */
export function readAll(directory: string): Held[] {
  if (!existsSync(directory)) {
    throw fault(`there is no ${directory}`, `make a CA there: penstock pki init ${directory}`);
  }
  return inventory(directory);
}

/** Whether the directory's CRL revokes a certificate of its CA. */
export function revokedIn(directory: string, { revocationsIn }: Issuing): (held: Held) => boolean {
  const { crl } = caFiles(directory);
  if (!existsSync(crl)) return () => false;
  const serials = new Set(revocationsIn(readFileSync(crl, 'utf8')).map(({ serial }) => serial));
  return ({ signedBy, certificate }) => signedBy === 'ca' && serials.has(certificate.serialNumber);
}

export function isExpired({ validTo }: X509Certificate): boolean {
  return Date.parse(validTo) < Date.now();
}
