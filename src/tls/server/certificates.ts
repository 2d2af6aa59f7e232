/** Which certificate to show to a client. */
import type { X509Certificate } from 'node:crypto';
import { dnsNames } from '../../x509/dns-names.ts';

type Named = { readonly pairs: readonly { readonly leaf: X509Certificate }[] };

/**
 * Chooses from a route's list: the certificate whose SAN is exactly this name, else one whose wildcard
 * matches (one label, RFC 6125 §6.4.3), else the first. Expects the name in lower case; a look-up costs the
 * same however long the list is.
 */
export function createCertificateChooser<T extends Named>(
  certificates: readonly T[],
): (sni: string | undefined) => T {
  const [first] = certificates;
  if (first === undefined) throw new RangeError('a route that terminates TLS needs a certificate');
  if (certificates.length === 1) return () => first;
  const byName = new Map<string, T>();
  for (const certificate of certificates) {
    for (const name of certificate.pairs.flatMap(({ leaf }) => dnsNames(leaf))) {
      if (!byName.has(name)) byName.set(name, certificate);
    }
  }
  return (sni) => {
    if (sni === undefined) return first;
    return byName.get(sni) ?? byName.get(`*${sni.slice(Math.max(0, sni.indexOf('.')))}`) ?? first;
  };
}
