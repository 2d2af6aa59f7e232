/**
 * How long a client's chain stays valid. A resumed session carries the verdict of its full handshake
 * and the client's own certificate, but not the CA certificates above it. So their dates, and those of
 * the CRLs, are checked again here.
 */
import type { X509Certificate } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { type CertificateNames, readCertificate } from '../../x509/certificate-names.ts';
import { readRevocationList, serialKey } from '../../x509/revocation-list.ts';
import { hasSigned } from '../chain-error.ts';

/** CA certificates, and revocation lists as PEM, one list per string, as read from an authority's files. */
export type Authority = {
  readonly certificates: readonly X509Certificate[];
  readonly crl: readonly string[];
};

/**
 * `unknown`: its issuer is neither in the authority nor among the intermediates
 * that clients have sent so far.
 */
export type ChainState = 'valid' | 'expired' | 'crl_expired' | 'unknown';

export type Issuers = {
  /** Whether the authority itself has a CA of this name (DER). */
  readonly has: (nameDer: Buffer) => boolean;
  /** The state, at this time (ms), of the chain above a certificate that an earlier handshake verified. */
  readonly check: (certificate: X509Certificate, names: CertificateNames, now: number) => ChainState;
  /** Whether it leads to a CA of the authority, directly or through `sent`; ignores dates and CRLs. */
  readonly reaches: (
    certificate: X509Certificate,
    names: CertificateNames,
    sent: readonly X509Certificate[],
  ) => boolean;
  /**
   * Whether a CA of the authority really signed it, or one of `sent`, whatever
   * OpenSSL says about their extensions.
   */
  readonly hasSigned: (certificate: X509Certificate, sent: readonly X509Certificate[]) => boolean;
  /** Whether any CRL covers only some certificates. */
  readonly hasScopedList: () => boolean;
  /** Whether a CRL of its issuer lists it. The CRLs are read on the first call. */
  readonly isRevoked: (certificate: X509Certificate) => boolean;
  /**
   * Call it after a full handshake that was verified: remembers the intermediates that the client sent, if
   * they link its certificate to the authority. Bounded; calls `chain` only if they are not known yet.
   */
  readonly learn: (
    certificate: X509Certificate,
    names: CertificateNames,
    chain: () => readonly X509Certificate[],
    now: number,
  ) => void;
};

type Link = { readonly certificate: X509Certificate; readonly names: CertificateNames };
/** `name` is its subject as a key; a root has signed itself. */
type Ca = Link & { readonly name: string; readonly isRoot: boolean };

const limits = { sent: 10, learnedNames: 1000, learnedPerName: 4 } as const;

/** Indexes an authority. CA certificates and CRLs that are not strict DER count as absent. */
export function createIssuers({ certificates, crl }: Authority): Issuers {
  const index: Index = {
    trusted: new Map(),
    learned: new LRUCache({ max: limits.learnedNames }),
    nextUpdates: crl.length > 0 ? readNextUpdates(crl) : undefined,
  };
  const { trusted } = index;
  for (const ca of certificates.map(readCa)) {
    if (ca) trusted.set(ca.name, [...(trusted.get(ca.name) ?? []), ca]);
  }
  let revoked: ReadonlySet<string> | undefined;
  return {
    has: (nameDer) => trusted.has(nameKey(nameDer)),
    check: (certificate, names, now) => checkChain(index, { certificate, names }, now),
    reaches: (certificate, names, sent) =>
      climb({ certificate, names }, readCas(sent), trusted) !== undefined,
    hasSigned: (certificate, sent) =>
      [certificate, ...sent.slice(0, limits.sent)].some((one) => {
        const issuer = readCertificate(one.raw)?.issuerDer;
        const cas = issuer ? (trusted.get(nameKey(issuer)) ?? []) : [];
        return cas.some((ca) => hasSigned(ca.certificate, one));
      }),
    hasScopedList: () => crl.some((pem) => (readRevocationList(pem)?.scope ?? 'all') !== 'all'),
    isRevoked(certificate) {
      revoked ??= new Set(crl.flatMap((pem) => readRevoked(pem)));
      const names = readCertificate(certificate.raw);
      return names !== undefined && revoked.has(revokedKey(names.issuerDer, certificate.serialNumber));
    },
    learn(certificate, names, chain, now) {
      const leaf = { certificate, names };
      if (checkChain(index, leaf, now) !== 'valid') learn(index, leaf, chain(), now);
    },
  };
}

/**
 * CA certificates by their subject's key. `nextUpdates`: until when CRLs are valid, by
 * issuer; undefined if there are none.
 */
type Index = {
  readonly trusted: Map<string, readonly Ca[]>;
  readonly learned: LRUCache<string, readonly Ca[]>;
  readonly nextUpdates: ReadonlyMap<string, number> | undefined;
};

function checkChain(index: Index, below: Link, now: number, seen = new Set<Ca>()): ChainState {
  const name = nameKey(below.names.issuerDer);
  const { trusted, learned, nextUpdates } = index;
  const crlNextUpdate = nextUpdates ? (nextUpdates.get(name) ?? 0) : Number.POSITIVE_INFINITY;
  let state: ChainState = 'unknown';
  for (const ca of issuersOf(below, [...(trusted.get(name) ?? []), ...(learned.get(name) ?? [])])) {
    // Cross-signed CAs may form a cycle.
    if (seen.has(ca)) continue;
    seen.add(ca);
    state = stateOf(ca, now, crlNextUpdate);
    if (state === 'valid' && !ca.isRoot) state = checkChain(index, ca, now, seen);
    if (state === 'valid') return state;
  }
  return state;
}

function learn(
  { trusted, learned }: Index,
  leaf: Link,
  chain: readonly X509Certificate[],
  now: number,
): void {
  const intermediates = readCas(chain).filter((ca) => ca.certificate.ca && !ca.isRoot);
  const valid = intermediates.filter((ca) => stateOf(ca, now) === 'valid');
  for (const ca of climb(leaf, valid, trusted) ?? []) {
    learned.set(ca.name, [ca, ...(learned.get(ca.name) ?? [])].slice(0, limits.learnedPerName));
  }
}

function stateOf({ names }: Ca, now: number, crlNextUpdate = Number.POSITIVE_INFINITY): ChainState {
  if (now < names.notBefore || now > names.notAfter) return 'expired';
  return now > crlNextUpdate ? 'crl_expired' : 'valid';
}

/** Names compare by their bytes, which as a string make the key of a Map. */
function nameKey(nameDer: Buffer): string {
  return nameDer.toString('latin1');
}

/** The certificates a client sent that may be CAs; anything beyond the limit is ignored. */
function readCas(sent: readonly X509Certificate[]): Ca[] {
  return sent
    .slice(0, limits.sent)
    .map(readCa)
    .filter((ca) => ca !== undefined);
}

function readCa(certificate: X509Certificate): Ca | undefined {
  const names = readCertificate(certificate.raw);
  if (!names) return undefined;
  return {
    certificate,
    names,
    name: nameKey(names.subjectDer),
    isRoot: certificate.checkIssued(certificate),
  };
}

/** Signatures distinguish several CAs with the same name and key identifier, as after renewing a root. */
function issuersOf({ certificate }: Link, candidates: readonly Ca[]): readonly Ca[] {
  const issuers = candidates.filter((ca) => certificate.checkIssued(ca.certificate));
  return issuers.length < 2 ? issuers : issuers.filter((ca) => certificate.verify(ca.certificate.publicKey));
}

/**
 * The CA certificates of `sent` from the leaf's issuer up to one that a trusted CA signed;
 * undefined if they do not get there. Checks every signature, because a client could send a copy of
 * its issuer that lasts longer, or claims another issuer. Takes the first one that fits, without
 * backtracking, so the work is bounded.
 */
function climb(
  leaf: Link,
  sent: readonly Ca[],
  trusted: ReadonlyMap<string, readonly Ca[]>,
): Ca[] | undefined {
  const signed = (below: Link, ca: Ca): boolean =>
    below.certificate.checkIssued(ca.certificate) && below.certificate.verify(ca.certificate.publicKey);
  const links: Ca[] = [];
  let top = leaf;
  while (!trusted.get(nameKey(top.names.issuerDer))?.some((ca) => signed(top, ca))) {
    const next = sent.find((ca) => !links.includes(ca) && signed(top, ca));
    if (!next) return undefined;
    links.push(next);
    top = next;
  }
  return links;
}

/**
 * The latest time until which any CRL of an issuer is valid, by issuer;
 * Infinity for a CRL without nextUpdate.
 */
function readNextUpdates(crls: readonly string[]): Map<string, number> {
  const nextUpdates = new Map<string, number>();
  for (const pem of crls) {
    const crl = readRevocationList(pem);
    if (!crl) continue;
    const name = nameKey(crl.issuerDer);
    nextUpdates.set(name, Math.max(nextUpdates.get(name) ?? 0, crl.nextUpdate));
  }
  return nextUpdates;
}

/** What a CRL revokes, as keys. Loading the configuration refuses any CRL that cannot be read. */
function readRevoked(pem: string): string[] {
  const list = readRevocationList(pem);
  return list?.serials()?.map((serial) => revokedKey(list.issuerDer, serial)) ?? [];
}

function revokedKey(issuerDer: Buffer, serial: string): string {
  return `${nameKey(issuerDer)} ${serialKey(serial)}`;
}
