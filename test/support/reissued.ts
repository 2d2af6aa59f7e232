/** A certificate or revocation list that says something else, signed anew: what no tool will make. */
import { sign } from 'node:crypto';
import { readElement } from '../../src/x509/der.ts';
import { tlv } from './certificate-der.ts';

/** `edit` changes what is signed, in its place; the key is on a curve, and signs with SHA-256. */
export function reissued(pem: string, key: string, edit: (signed: Buffer) => void): string {
  const [, label = '', base64 = ''] = /^-----BEGIN ([^-]+)-----([^-]+)/.exec(pem) ?? [];
  const der = Buffer.from(base64, 'base64');
  // SEQUENCE { tbs, algorithm, signature }
  const whole = readElement(der, 0, der.length);
  const tbs = readElement(der, whole.start, whole.end);
  const algorithm = readElement(der, tbs.end, whole.end);
  const signed = Buffer.from(der.subarray(tbs.at, tbs.end));
  edit(signed);
  const signature = tlv(0x03, Buffer.from([0]), sign('sha256', signed, key));
  const made = tlv(0x30, signed, der.subarray(algorithm.at, algorithm.end), signature);
  const lines = made.toString('base64').replaceAll(/.{64}/g, '$&\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}
