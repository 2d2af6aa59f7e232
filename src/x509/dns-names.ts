/**
 * The names of our own certificates, as Node reads them. For peers' certificates see `certificate-names.ts`.
 */
import type { X509Certificate } from 'node:crypto';

/** The DNS names of its subjectAltName, in lower case. */
export function dnsNames({ subjectAltName }: X509Certificate): string[] {
  // Node quotes names that contain a comma or a quote (CVE-2021-44532); no client can ask for such a name.
  const entries = (subjectAltName ?? '').matchAll(/(?:^|, )([^:,]+):(?:"(?:[^"\\]|\\.)*"|([^",]*))/g);
  return [...entries].flatMap(([, kind, name = '']) =>
    kind === 'DNS' && name !== '' ? [name.toLowerCase()] : [],
  );
}
