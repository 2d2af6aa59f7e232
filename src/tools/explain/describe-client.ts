/** An assumed client as plain values, for `--json` and for the text. */
import { createHash, type X509Certificate } from 'node:crypto';
import { printName, readCertificate } from '../../x509/certificate-names.ts';
import { pinOfKey } from '../../x509/pin.ts';
import { type AssumedClient, tlsVersions } from '../client/assumed-client.ts';

export type DescribedClient = ReturnType<typeof describeClient>;

export function describeClient({
  sni,
  alpn,
  address,
  peer,
  ja4,
  plain,
  versions,
  certificates,
  gone,
}: AssumedClient) {
  return {
    sni: sni ?? null,
    /** null: not known. */
    alpn: alpn ?? null,
    address: address ?? null,
    peer: peer ?? null,
    ja4: ja4 ?? null,
    /** Lowest first, without unnamed ones (GREASE); null if not known. */
    tls: versions
      ? Object.keys(tlsVersions).filter((name) => versions.includes(tlsVersions[name] ?? 0))
      : null,
    plain,
    /** It left before it said what it wants: only its addresses are known. */
    gone: gone !== undefined,
    /** `none` if it presents none; null if not known. */
    certificate: certificates ? describeCertificate(certificates[0]) : null,
  };
}

function describeCertificate(certificate: X509Certificate | undefined) {
  if (certificate === undefined) return 'none';
  const names = readCertificate(certificate.raw);
  return {
    subject: names ? printName(names.subjectDer) : null,
    sans: names?.sans ?? null,
    fingerprint: createHash('sha256').update(certificate.raw).digest('hex'),
    spki: names ? pinOfKey(names.spkiDer) : null,
  };
}
