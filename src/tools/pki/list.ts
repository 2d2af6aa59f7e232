/** `penstock pki list`: lists a directory as a table. */
import { existsSync } from 'node:fs';
import { daysLeft } from '../../config/material/describe.ts';
import { readCertificate as readNames } from '../../x509/certificate-names.ts';
import { pinOf } from '../../x509/pin.ts';
import { formatTable } from '../terminal/table.ts';
import { caFiles, readCertificate } from './directory.ts';
import { type Issuing, isExpired, readAll, revokedIn } from './holdings.ts';
import type { Held } from './inventory.ts';

/** A line for each certificate, and the pins of self-signed ones. */
export function listPki(directory: string, issuing: Issuing): string {
  const held = readAll(directory);
  const isRevoked = revokedIn(directory, issuing);
  const { cert } = caFiles(directory);
  const ca = existsSync(cert) ? [['ca', 'CA', ...datesOf(readCertificate(cert).validTo), '', '']] : [];
  const table = formatTable(
    ['NAME', 'FOR', 'EXPIRES', 'DAYS', 'STATE', 'NAMES'],
    [
      ...ca,
      ...held.map((one) => [
        one.name,
        one.usage === 'both' ? 'server, client' : one.usage,
        ...datesOf(one.certificate.validTo),
        stateOf(one, isRevoked(one)),
        readNames(one.certificate.raw)?.sans.join(', ') ?? '',
      ]),
    ],
    ['NAME', 'STATE'],
  );
  const pins = held
    .filter(({ signedBy }) => signedBy === 'itself')
    .map(({ name, certificate }) => `${name}: ${pinOf(certificate)}\n`);
  return table + (pins.length === 0 ? '' : `\npins of those that are self-signed:\n${pins.join('')}`);
}

function stateOf({ certificate, signedBy, files }: Held, isRevoked: boolean): string {
  if (isRevoked) return 'revoked';
  if (isExpired(certificate)) return 'expired';
  if (!existsSync(files.key)) return 'no key';
  return { ca: 'valid', itself: 'self-signed', another: 'of another CA' }[signedBy];
}

function datesOf(validTo: string): [string, string] {
  const end = new Date(validTo);
  return [end.toISOString().slice(0, 10), `${daysLeft(end)}`];
}
