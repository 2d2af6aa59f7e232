/**
 * Reads revocation lists (RFC 5280 §5.1) strictly, in one place, so that a list means the same when the
 * configuration is loaded and whenever it is consulted later. OpenSSL accepts lists that are not DER, or
 * whose dates are invalid.
 */
import { contents, DerError, type Element, readChildren, readElement, readTime, tags, whole } from './der.ts';

export type RevocationList = {
  /** DER; equal names are equal bytes. */
  readonly issuerDer: Buffer;
  /** Milliseconds since 1970, like `nextUpdate`, which is Infinity if it has none. */
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  /**
   * Which certificates it covers (issuingDistributionPoint, RFC 5280 §5.2.5); `some`: only attribute
   * certificates, some reasons, other CAs', or a delta.
   */
  readonly scope: 'all' | 'users' | 'cas' | 'some';
  /**
   * The serial numbers, in upper-case hex without leading zeros; undefined if the list of them is not strict
   * DER.
   */
  readonly serials: () => string[] | undefined;
};

/**
 * Reads one list in PEM; undefined if it is not strict DER. `serials` is parsed on demand, since lists may be
 * long.
 */
export function readRevocationList(pem: string): RevocationList | undefined {
  const base64 = /-----BEGIN X509 CRL-----([^-]+)-----END X509 CRL-----/.exec(pem)?.[1];
  if (base64 === undefined) return undefined;
  const der = Buffer.from(base64, 'base64');
  return orUndefined(() => {
    const { issuer, thisUpdate, nextUpdate, entries, extensions } = readFields(der);
    return {
      issuerDer: whole(der, issuer),
      thisUpdate: readTime(der, thisUpdate),
      nextUpdate: nextUpdate ? readTime(der, nextUpdate) : Number.POSITIVE_INFINITY,
      scope: extensions ? (orUndefined(() => readScope(der, extensions)) ?? 'some') : 'all',
      serials: () => orUndefined(() => (entries ? readSerials(der, entries) : [])),
    };
  });
}

/** Normalizes a serial number in hex for comparison: Node drops leading zeros too. */
export function serialKey(hex: string): string {
  return hex.toUpperCase().replace(/^0+/, '');
}

const mostRevoked = 1_000_000;

type Fields = {
  readonly issuer: Element;
  readonly thisUpdate: Element;
  readonly nextUpdate: Element | undefined;
  readonly entries: Element | undefined;
  readonly extensions: Element | undefined;
};

// CertificateList ::= SEQUENCE {
//   tbsCertList SEQUENCE {
//     version INTEGER OPTIONAL, signature AlgorithmIdentifier, issuer Name, thisUpdate Time,
//     nextUpdate Time OPTIONAL, revokedCertificates …, crlExtensions [0] … }, … }
function readFields(der: Buffer): Fields {
  const list = readElement(der, 0, der.length, tags.sequence);
  if (list.end !== der.length) throw new DerError('bytes after the list');
  const fields = readChildren(der, readElement(der, list.start, list.end, tags.sequence), 7);
  if (fields[0]?.tag === tags.integer) fields.shift();
  const [signature, issuer, thisUpdate, ...rest] = fields;
  if (signature?.tag !== tags.sequence || issuer?.tag !== tags.sequence || !thisUpdate) {
    throw new DerError('not a revocation list');
  }
  const isTime = rest[0]?.tag === tags.utcTime || rest[0]?.tag === tags.generalizedTime;
  const nextUpdate = isTime ? rest.shift() : undefined;
  const entries = rest[0]?.tag === tags.sequence ? rest.shift() : undefined;
  if (rest.some(({ tag }) => tag !== 0xa0) || rest.length > 1) throw new DerError('not a revocation list');
  return { issuer, thisUpdate, nextUpdate, entries, extensions: rest[0] };
}

// revokedCertificates SEQUENCE OF SEQUENCE { userCertificate INTEGER, revocationDate Time, … } OPTIONAL
function readSerials(der: Buffer, entries: Element): string[] {
  return readChildren(der, entries, mostRevoked, tags.sequence).map((entry) => {
    const serial = readElement(der, entry.start, entry.end, tags.integer);
    return serialKey(contents(der, serial).toString('hex'));
  });
}

// IssuingDistributionPoint ::= SEQUENCE {
//   distributionPoint [0], onlyContainsUserCerts [1] BOOLEAN, onlyContainsCACerts [2],
//   onlySomeReasons [3], indirectCRL [4], onlyContainsAttributeCerts [5] }, each OPTIONAL
function readScope(der: Buffer, { start, end }: Element): RevocationList['scope'] {
  const list = readChildren(der, readElement(der, start, end, tags.sequence), 20, tags.sequence);
  for (const extension of list) {
    const parts = readChildren(der, extension, 3);
    const [id, value] = [parts[0], parts.at(-1)];
    if (!id || !value) throw new DerError('not an extension');
    if (contents(der, id).equals(deltaIndicator)) return 'some';
    if (!contents(der, id).equals(issuingDistributionPoint)) continue;
    const point = readElement(der, value.start, value.end, tags.sequence);
    const flags = readChildren(der, point, 6).filter(({ tag }) => tag !== 0xa0);
    if (flags.length === 0) return 'all';
    return flags.length > 1 ? 'some' : (scopes[flags[0]?.tag ?? 0] ?? 'some');
  }
  return 'all';
}

/** 2.5.29.28 and 2.5.29.27 */
const issuingDistributionPoint = Buffer.of(0x55, 0x1d, 28);
const deltaIndicator = Buffer.of(0x55, 0x1d, 27);
const scopes: Readonly<Record<number, RevocationList['scope']>> = { 129: 'users', 130: 'cas' };

function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof DerError) return undefined;
    throw error;
  }
}
