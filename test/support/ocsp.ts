/** OCSP responses, put together byte by byte: what a responder says, and what none should. */
import { createHash, createPrivateKey, sign, X509Certificate } from 'node:crypto';
import { tlv } from './certificate-der.ts';
import type { Credential } from './certificates.ts';

export type OcspOptions = {
  readonly status?: 'good' | 'revoked' | 'unknown';
  /** Default: an hour ago. */
  readonly thisUpdate?: Date;
  /** Default: in a week; null: none. */
  readonly nextUpdate?: Date | null;
  /** Other certificates of the same CA that the response speaks of first. */
  readonly others?: readonly Credential[];
  readonly hash?: 'sha1' | 'sha256';
  /** An ENUMERATED other than successful (0) ends the response. */
  readonly responseStatus?: number;
};

/** A response for the leaf, signed by its CA, whose key is ECDSA. */
export function ocspResponse(ca: Credential, leaf: Credential, options: OcspOptions = {}): Buffer {
  const { responseStatus = 0, others = [] } = options;
  const status = tlv(0x0a, Buffer.from([responseStatus]));
  if (responseStatus !== 0) return tlv(0x30, status);
  const { hash } = subjectOf(ca);
  const data = tlv(
    0x30,
    tlv(0xa2, tlv(0x04, hash('sha1', 'key'))),
    time(new Date()),
    tlv(0x30, ...[...others, leaf].map((one) => singleResponse(ca, one, one === leaf ? options : {}))),
  );
  const signature = sign('sha256', data, createPrivateKey(ca.key));
  const ecdsaWithSha256 = tlv(0x30, oid('2a8648ce3d040302'));
  const basic = tlv(0x30, data, ecdsaWithSha256, tlv(0x03, Buffer.from([0]), signature));
  return tlv(0x30, status, tlv(0xa0, tlv(0x30, oid('2b0601050507300101'), tlv(0x04, basic))));
}

function singleResponse(ca: Credential, leaf: Credential, options: OcspOptions): Buffer {
  const hour = 3_600_000;
  const {
    hash: algorithm = 'sha1',
    status = 'good',
    thisUpdate = new Date(Date.now() - hour),
    nextUpdate = new Date(Date.now() + 7 * 24 * hour),
  } = options;
  const { hash } = subjectOf(ca);
  const id = tlv(
    0x30,
    tlv(0x30, oid(algorithm === 'sha1' ? '2b0e03021a' : '608648016503040201'), tlv(0x05)),
    tlv(0x04, hash(algorithm, 'name')),
    tlv(0x04, hash(algorithm, 'key')),
    tlv(0x02, Buffer.from(leaf.serial, 'hex')),
  );
  const statuses = { good: tlv(0x80), revoked: tlv(0xa1, time(thisUpdate)), unknown: tlv(0x82) };
  const until = nextUpdate === null ? [] : [tlv(0xa0, time(nextUpdate))];
  return tlv(0x30, id, statuses[status], time(thisUpdate), ...until);
}

function oid(hex: string): Buffer {
  return tlv(0x06, Buffer.from(hex, 'hex'));
}

function time(date: Date): Buffer {
  return tlv(0x18, Buffer.from(`${date.toISOString().replace(/[-:T]|\..*/g, '')}Z`));
}

/** Hashes of a CA's name (DER) and of its public key's bits. */
function subjectOf(ca: Credential) {
  const { raw, publicKey } = new X509Certificate(ca.cert);
  // The key's bits are the last 65 bytes of a P-256 SubjectPublicKeyInfo. Of a root the subject stands just before that.
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const end = raw.indexOf(spki);
  const parts = { key: spki.subarray(-65), name: lastSequence(raw, end) };
  return {
    hash: (algorithm: string, part: keyof typeof parts) => createHash(algorithm).update(parts[part]).digest(),
  };
}

/** The short SEQUENCE that ends at `end`. */
function lastSequence(der: Buffer, end: number): Buffer {
  for (let at = end - 2; at >= end - 129; at--) {
    if (der[at] === 0x30 && der[at + 1] === end - at - 2 && der[at + 2] === 0x31)
      return der.subarray(at, end);
  }
  throw new RangeError('no name there');
}
