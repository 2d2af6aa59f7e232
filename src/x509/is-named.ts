/** Whether a certificate is for a name. */
import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';

/**
 * Matches SANs only; a wildcard stands for one whole label (RFC 9525 §6). By default
 * Node would fall back to the CN.
 */
export function isNamed(certificate: X509Certificate, name: string): boolean {
  if (isIP(name) !== 0) return certificate.checkIP(name) !== undefined;
  return certificate.checkHost(name, { subject: 'never', partialWildcards: false }) !== undefined;
}
