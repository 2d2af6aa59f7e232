/** Reads OCSP responses, which show a client that our certificate is not revoked (RFC 6960 §4.2). */
import { hash, type X509Certificate } from 'node:crypto';
import {
  contents,
  DerError,
  type Element,
  readChildren,
  readElement,
  readOid,
  readTime,
  tags,
  whole,
} from '../../x509/der.ts';

/** A response that calls a certificate "good" from one time to another (ms since 1970). */
export type Staple = {
  /** DER, as sent to clients. */
  readonly response: Uint8Array;
  readonly thisUpdate: number;
  readonly nextUpdate: number;
};

/**
 * Reads the response for a certificate. If it cannot be stapled, returns the reason, which completes "the
 * OCSP response …". Clients check its signature, since they know whom they trust; the caller checks its
 * dates.
 */
export function readStaple(der: Buffer, leaf: X509Certificate): Staple | string {
  try {
    const responses = readResponses(der);
    if (typeof responses === 'string') return responses;
    const own = responses.map((element) => readChildren(der, element, 5)).find(([id]) => isOf(der, id, leaf));
    return own ? readSingle(der, own) : 'is of another certificate';
  } catch (error) {
    if (error instanceof DerError) return `cannot be parsed (${error.message})`;
    throw error;
  }
}

const basicResponse = '1.3.6.1.5.5.7.48.1.1';
/** Context-specific tags: [0], [1] and [2], and the constructed forms of the first two. */
const context = { zero: 0x80, one: 0x81, two: 0x82, aroundZero: 0xa0, aroundOne: 0xa1 } as const;
const enumerated = 0x0a;

/** The elements of `responses`, each a SingleResponse. */
function readResponses(der: Buffer): Element[] | string {
  // OCSPResponse ::= SEQUENCE { responseStatus ENUMERATED, responseBytes [0] EXPLICIT SEQUENCE {
  //   responseType OBJECT IDENTIFIER, response OCTET STRING } OPTIONAL }
  const outer = readElement(der, 0, der.length, tags.sequence);
  if (outer.end !== der.length) throw new DerError('stray bytes behind it');
  const [status, bytes] = readChildren(der, outer, 2);
  if (status?.tag !== enumerated || status.end - status.start !== 1) throw new DerError('no status');
  if (der[status.start] !== 0) return `is an error: ${statuses[der[status.start] ?? 0] ?? 'unknown status'}`;
  const [type, response] = readChildren(der, inner(der, bytes, context.aroundZero, tags.sequence), 2);
  if (type === undefined || readOid(der, type) !== basicResponse) throw new DerError('not a basic response');
  // BasicOCSPResponse ::= SEQUENCE {
  //   tbsResponseData SEQUENCE {
  //     version [0] DEFAULT v1, responderID CHOICE, producedAt GeneralizedTime,
  //     responses SEQUENCE OF SingleResponse, responseExtensions [1] OPTIONAL }, … }
  const [data] = readChildren(der, inner(der, response, tags.octetString, tags.sequence), 4);
  if (data?.tag !== tags.sequence) throw new DerError('no response data');
  const fields = readChildren(der, data, 5);
  // The responder's name is [1], its key [2]: [0] can only be the version.
  if (fields[0]?.tag === context.aroundZero) fields.shift();
  const list = fields[2];
  if (list?.tag !== tags.sequence) throw new DerError('no list of responses');
  return readChildren(der, list, 1000, tags.sequence);
}

/** RFC 6960 §4.2.1. */
const statuses: Readonly<Record<number, string>> = {
  1: 'malformed request',
  2: 'internal error',
  3: 'try later',
  5: 'signature required',
  6: 'unauthorized',
};

/** The only element within another; both must have the given tags. */
function inner(der: Buffer, parent: Element | undefined, parentTag: number, tag: number): Element {
  if (parent?.tag !== parentTag) throw new DerError('a part is missing');
  const element = readElement(der, parent.start, parent.end, tag);
  if (element.end !== parent.end) throw new DerError('stray bytes behind a part');
  return element;
}

const hashes: Readonly<Record<string, string>> = {
  '1.3.14.3.2.26': 'sha1',
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
};

/** Whether a CertID belongs to the certificate: compares the serial number and the issuer's name. */
function isOf(der: Buffer, id: Element | undefined, leaf: X509Certificate): boolean {
  // CertID ::= SEQUENCE {
  //   hashAlgorithm SEQUENCE { algorithm OBJECT IDENTIFIER, … }, issuerNameHash OCTET STRING,
  //   issuerKeyHash OCTET STRING, serialNumber INTEGER }
  if (id?.tag !== tags.sequence) throw new DerError('no certificate id');
  const [algorithm, nameHash, , serial] = readChildren(der, id, 4);
  const [oid] = algorithm ? readChildren(der, algorithm, 2) : [];
  if (oid === undefined || nameHash === undefined || serial?.tag !== tags.integer) {
    throw new DerError('a certificate id cut short');
  }
  const algorithmName = hashes[readOid(der, oid)];
  const own = readIssuerAndSerial(leaf.raw);
  if (algorithmName === undefined || !contents(der, serial).equals(own.serial)) return false;
  return contents(der, nameHash).equals(hash(algorithmName, own.issuer, 'buffer'));
}

function readIssuerAndSerial(certificate: Buffer): { issuer: Buffer; serial: Buffer } {
  // Certificate ::= SEQUENCE {
  //   tbsCertificate SEQUENCE {
  //     version [0] DEFAULT v1, serialNumber INTEGER, signature SEQUENCE, issuer Name, … }, … }
  const outer = readElement(certificate, 0, certificate.length, tags.sequence);
  const fields = readChildren(certificate, readElement(certificate, outer.start, outer.end), 10);
  if (fields[0]?.tag === context.aroundZero) fields.shift();
  const [serial, , issuer] = fields;
  if (serial === undefined || issuer === undefined) throw new DerError('the certificate is cut short');
  return { issuer: whole(certificate, issuer), serial: contents(certificate, serial) };
}

function readSingle(der: Buffer, fields: readonly Element[]): Staple | string {
  // SingleResponse ::= SEQUENCE {
  //   certID CertID, certStatus CHOICE { good [0] NULL, revoked [1] RevokedInfo, unknown [2] NULL },
  //   thisUpdate GeneralizedTime, nextUpdate [0] EXPLICIT GeneralizedTime OPTIONAL, singleExtensions [1] … }
  const [, status, from, until] = fields;
  if (status?.tag === context.aroundOne) return 'says that the certificate is revoked';
  if (status?.tag === context.two) return 'says that the responder does not know the certificate';
  if (status?.tag !== context.zero || status.start !== status.end)
    throw new DerError('no certificate status');
  if (from === undefined) throw new DerError('no time');
  // A response without nextUpdate never expires, and would be served forever.
  if (until?.tag !== context.aroundZero) return 'does not say until when it is good';
  return {
    response: der,
    thisUpdate: readTime(der, from),
    nextUpdate: readTime(der, inner(der, until, context.aroundZero, tags.generalizedTime)),
  };
}
