/** The names of certificates of our own, as Node reads them. Those of peers are read from the DER: see `certificate-names.ts`. */
import type { X509Certificate } from 'node:crypto';

/** The DNS names of its subjectAltName, in lower case. */
export function dnsNames({ subjectAltName }: X509Certificate): string[] {
  // Node puts what has a comma or a quote in quotes (CVE-2021-44532); nobody can ask for such a name.
  const entries = (subjectAltName ?? '').matchAll(/(?:^|, )([^:,]+):(?:"(?:[^"\\]|\\.)*"|([^",]*))/g);
  return [...entries].flatMap(([, kind, name = '']) =>
    kind === 'DNS' && name !== '' ? [name.toLowerCase()] : [],
  );
}
