/** What our own certificates are for, read without parsing them whole: there may be thousands. */
import { X509Certificate } from 'node:crypto';
import { readCertificate } from './certificate-names.ts';
import { dnsNames } from './dns-names.ts';

export type Purpose = {
  /** The DNS names of its subjectAltName, in lower case. */
  readonly dns: readonly string[];
  /** OIDs; undefined: it may be used for anything. */
  readonly extendedKeyUsage: readonly string[] | undefined;
};

/** What the first certificate in `pem` is for. */
export function purposeOf(pem: string): Purpose {
  const own = readCertificate(derOf(pem));
  if (own && own.dns.length > 0) {
    return { dns: own.dns.map((name) => name.toLowerCase()), extendedKeyUsage: own.extendedKeyUsage };
  }
  // Node and OpenSSL are less strict.
  const leaf = new X509Certificate(pem);
  return { dns: dnsNames(leaf), extendedKeyUsage: leaf.keyUsage };
}

/** The first certificate in `pem`, which begins with it. */
export function derOf(pem: string): Buffer {
  return Buffer.from(pem.slice(begin.length, pem.indexOf('-----END')), 'base64');
}

const begin = '-----BEGIN CERTIFICATE-----';
