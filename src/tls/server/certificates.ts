/** Which certificate a client is shown. */
import type { X509Certificate } from 'node:crypto';
import { dnsNames } from '../../x509/dns-names.ts';

type Named = { readonly pairs: readonly { readonly leaf: X509Certificate }[] };

/**
 * Chooses from a route's list: the certificate whose SAN has the name exactly, then by wildcard (one label, RFC 6125
 * §6.4.3), then the first. Takes the name in lower case; look-up cost does not grow with the list.
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
