/**
 * When the certificates, authorities and CRLs of a configuration expire. An expired CRL locks everybody out.
 */
import { X509Certificate } from 'node:crypto';
import type { LoadedCertificate, LoadedConfig, LoadedPair } from '../config/load.ts';
import type { Work } from '../process/pacer.ts';
import { type CertificateNames, readCertificate } from '../x509/certificate-names.ts';
import { derOf } from '../x509/own-names.ts';
import { pinOf, pinOfKey } from '../x509/pin.ts';
import type { SupervisorFacts } from './families.ts';
import type { AuthorityStatus, CertificateStatus } from './status.ts';

/** Without `system`: it has many roots, and the user cannot renew them. */
export type Expiries = Pick<SupervisorFacts, 'certificates' | 'authorities' | 'crls'> & {
  /** Without the days left, which change: `describeExpiries` adds them. */
  readonly pairs: readonly Omit<CertificateStatus, 'days_left'>[];
};

type Known = Pick<LoadedConfig, 'certificates' | 'authorities'>;

export function* readExpiries({ certificates, authorities }: Known): Work<Expiries> {
  const own = [...authorities.values()].filter(({ name }) => name !== 'system');
  const pairs: Expiries['pairs'][number][] = [];
  for (const certificate of certificates.values()) {
    yield;
    pairs.push(...pairsOf(certificate));
  }
  return {
    pairs,
    certificates: pairs.map(({ name, expires }) => ({ name, notAfter: new Date(expires) })),
    authorities: own.flatMap(({ name, certificates }) =>
      certificates.map(({ validTo }) => ({ name, notAfter: new Date(validTo) })),
    ),
    crls: own.flatMap(({ name, crlNextUpdates }) =>
      crlNextUpdates.flatMap((nextUpdate) => (nextUpdate ? [{ authority: name, nextUpdate }] : [])),
    ),
  };
}

/** Parsed once for each certificate: there may be thousands, of which a reload changes one. */
const knownPairs = new WeakMap<LoadedCertificate, Expiries['pairs']>();

function pairsOf(certificate: LoadedCertificate): Expiries['pairs'] {
  const known = knownPairs.get(certificate);
  if (known) return known;
  const pairs = certificate.pairs.map((pair) => {
    const chain = readChain(pair);
    const [leaf] = chain.map(({ read }) => read);
    return {
      name: certificate.name,
      key_type: pair.keyType,
      names: leaf && hasOnlyDnsNames(leaf) ? [...leaf.dns] : namesOf(pair.leaf),
      expires: new Date(Math.min(...chain.map(expiryOf))).toISOString(),
      pin: leaf ? pinOfKey(leaf.spkiDer) : pinOf(pair.leaf),
    };
  });
  knownPairs.set(certificate, pairs);
  return pairs;
}

/** The same for a Status, as of `now` (milliseconds since 1970). */
export function describeExpiries(
  { pairs, authorities, crls }: Expiries,
  now = Date.now(),
): { certificates: CertificateStatus[]; authorities: AuthorityStatus[] } {
  const daysLeft = (date: Date): number => Math.floor((date.getTime() - now) / 86_400_000);
  const names = [...new Set(authorities.map(({ name }) => name))];
  return {
    certificates: pairs.map((pair) => ({ ...pair, days_left: daysLeft(new Date(pair.expires)) })),
    authorities: names.flatMap((name) => {
      const expires = first(authorities.filter((one) => one.name === name).map(({ notAfter }) => notAfter));
      const crl = first(crls.filter((one) => one.authority === name).map(({ nextUpdate }) => nextUpdate));
      if (expires === undefined) return [];
      return [
        {
          name,
          expires: expires.toISOString(),
          days_left: daysLeft(expires),
          crl_next_update: crl?.toISOString() ?? null,
          crl_days_left: crl ? daysLeft(crl) : null,
        },
      ];
    }),
  };
}

type Read = { readonly pem: string; readonly read: CertificateNames | undefined };

/** From its DER, in a tenth of the time that Node takes for it; undefined where Node is less strict. */
function readChain({ cert }: LoadedPair): Read[] {
  const chain = cert.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return chain.map((pem) => ({ pem, read: readCertificate(derOf(pem)) }));
}

/** A chain expires when the first of its certificates does. In ms since 1970. */
function expiryOf({ pem, read }: Read): number {
  return read?.notAfter ?? Date.parse(new X509Certificate(pem).validTo);
}

function hasOnlyDnsNames({ dns, sans }: CertificateNames): boolean {
  return dns.length > 0 && sans.every((san) => san.startsWith('DNS:'));
}

function first(dates: readonly Date[]): Date | undefined {
  return dates.reduce<Date | undefined>((a, b) => (a === undefined || b < a ? b : a), undefined);
}

/** `DNS:a.example, DNS:b.example` without the kinds, or the subject if there are no SANs. */
function namesOf({ subjectAltName, subject }: X509Certificate): string[] {
  // On Node 20 it is null if it cannot be read.
  if (!subjectAltName) return subject ? [subject.replaceAll('\n', ', ')] : [];
  return subjectAltName.split(', ').map((name) => name.replace(/^(DNS|URI|IP Address|email):/, ''));
}
