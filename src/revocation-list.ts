/**
 * Revocation lists (RFC 5280 §5.1), read strictly, and by one reader: what a configuration is loaded with has to say the
 * same, and something certain, whenever it is asked later. OpenSSL takes lists that are no DER, or with dates that are none.
 */
import { contents, DerError, type Element, readChildren, readElement, readTime, tags, whole } from './der.ts';

export type RevocationList = {
  /** DER; equal names are equal bytes. */
  readonly issuerDer: Buffer;
  /** Milliseconds since 1970; Infinity if it does not say. */
  readonly nextUpdate: number;
  /** The serial numbers, in upper-case hex without leading zeros; undefined if the list of them is not strict DER. */
  readonly serials: () => string[] | undefined;
};

/** Reads one list in PEM; undefined if it is none in strict DER. `serials` is read when it is asked: lists may be long. */
export function readRevocationList(pem: string): RevocationList | undefined {
  const base64 = /-----BEGIN X509 CRL-----([^-]+)-----END X509 CRL-----/.exec(pem)?.[1];
  if (base64 === undefined) return undefined;
  const der = Buffer.from(base64, 'base64');
  return orUndefined(() => {
    const { issuer, nextUpdate, entries } = readFields(der);
    return {
      issuerDer: whole(der, issuer),
      nextUpdate: nextUpdate ? readTime(der, nextUpdate) : Number.POSITIVE_INFINITY,
      serials: () => orUndefined(() => (entries ? readSerials(der, entries) : [])),
    };
  });
}

/** Of a serial number in hex, what two of them are compared by: Node drops leading zeros, too. */
export function serialKey(hex: string): string {
  return hex.toUpperCase().replace(/^0+/, '');
}

const mostRevoked = 1_000_000;

type Fields = {
  readonly issuer: Element;
  readonly nextUpdate: Element | undefined;
  readonly entries: Element | undefined;
};

// CertificateList ::= SEQUENCE { tbsCertList SEQUENCE { version INTEGER OPTIONAL, signature AlgorithmIdentifier,
//   issuer Name, thisUpdate Time, nextUpdate Time OPTIONAL, revokedCertificates …, crlExtensions [0] … }, … }
function readFields(der: Buffer): Fields {
  const list = readElement(der, 0, der.length, tags.sequence);
  if (list.end !== der.length) throw new DerError('bytes after the list');
  const fields = readChildren(der, readElement(der, list.start, list.end, tags.sequence), 7);
  if (fields[0]?.tag === tags.integer) fields.shift();
  const [signature, issuer, thisUpdate, ...rest] = fields;
  if (signature?.tag !== tags.sequence || issuer?.tag !== tags.sequence || !thisUpdate) {
    throw new DerError('not a revocation list');
  }
  readTime(der, thisUpdate);
  const isTime = rest[0]?.tag === tags.utcTime || rest[0]?.tag === tags.generalizedTime;
  const nextUpdate = isTime ? rest.shift() : undefined;
  const entries = rest[0]?.tag === tags.sequence ? rest.shift() : undefined;
  if (rest.some(({ tag }) => tag !== 0xa0) || rest.length > 1) throw new DerError('not a revocation list');
  return { issuer, nextUpdate, entries };
}

// revokedCertificates SEQUENCE OF SEQUENCE { userCertificate INTEGER, revocationDate Time, … } OPTIONAL
function readSerials(der: Buffer, entries: Element): string[] {
  return readChildren(der, entries, mostRevoked, tags.sequence).map((entry) => {
    const serial = readElement(der, entry.start, entry.end, tags.integer);
    return serialKey(contents(der, serial).toString('hex'));
  });
}

function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof DerError) return undefined;
    throw error;
  }
}
