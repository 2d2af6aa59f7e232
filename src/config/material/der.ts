/** Reads the few fields of certificates that Node does not expose, or takes long for (RFC 5280 §4.1). */
import {
  contents,
  DerError,
  type Element,
  readChildren,
  readElement,
  readTime,
  tags,
  whole,
} from '../../x509/der.ts';

/**
 * The subject of a certificate, its DER in hex, so that equal names are equal texts. Undefined if it is not
 * strict DER.
 */
export function readSubject(der: Buffer): string | undefined {
  return unlessFaulty(() => {
    const { subject } = fieldsOf(der);
    return subject?.tag === tags.sequence ? whole(der, subject).toString('hex') : undefined;
  });
}

/** From when to when a certificate is valid, in ms since 1970. Undefined if it is not strict DER. */
export function readValidity(der: Buffer): readonly [from: number, to: number] | undefined {
  return unlessFaulty(() => {
    const { validity } = fieldsOf(der);
    const [from, to] = validity ? readChildren(der, validity, 2) : [];
    return from && to && [readTime(der, from), readTime(der, to)];
  });
}

/**
 * Everything that OpenSSL's security level judges a certificate by, as a text: the kind and size of its key,
 * and the algorithm of its signature, unless it has signed itself. Undefined if there is more to it than is
 * looked at here.
 */
export function readStrength(der: Buffer): string | undefined {
  return unlessFaulty(() => {
    const { issuer, subject, key, signatureAlgorithm } = fieldsOf(der);
    if (!issuer || !subject || !key || !signatureAlgorithm) return undefined;
    const kind = kindOfKey(der, key);
    const isOwn = textOf(der, issuer) === textOf(der, subject);
    return kind && `${kind} ${textOf(der, signatureAlgorithm)} ${isOwn}`;
  });
}

type Field = 'issuer' | 'validity' | 'subject' | 'key' | 'signatureAlgorithm';

// Certificate ::= SEQUENCE {
//   tbsCertificate SEQUENCE {
//     version [0] OPTIONAL, serialNumber INTEGER, signature SEQUENCE, issuer Name, validity SEQUENCE,
//     subject Name, subjectPublicKeyInfo SEQUENCE, … },
//   signatureAlgorithm AlgorithmIdentifier, signature BIT STRING }
function fieldsOf(der: Buffer): Partial<Record<Field, Element>> {
  const outer = readElement(der, 0, der.length, tags.sequence);
  const [tbs, signatureAlgorithm] = readChildren(der, outer, 3);
  const fields = tbs?.tag === tags.sequence ? readChildren(der, tbs, 10) : [];
  if (fields[0]?.tag === 0xa0) fields.shift();
  const [, , issuer, validity, subject, key] = fields;
  return {
    ...(issuer && { issuer }),
    ...(validity && { validity }),
    ...(subject && { subject }),
    ...(key && { key }),
    ...(signatureAlgorithm && { signatureAlgorithm }),
  };
}

/** OBJECT IDENTIFIERs of RFC 5480 §2.1.1 and RFC 8017 §A.1, with tag and length. */
const ecPublicKey = Buffer.from('06072a8648ce3d0201', 'hex').toString('latin1');
const rsaEncryption = Buffer.from('06092a864886f70d010101', 'hex').toString('latin1');

// SubjectPublicKeyInfo ::= SEQUENCE {
//   algorithm SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY }, subjectPublicKey BIT STRING }
function kindOfKey(der: Buffer, key: Element): string | undefined {
  const [algorithm, bits] = readChildren(der, key, 2);
  if (!algorithm || bits?.tag !== tags.bitString) return undefined;
  const [oid, parameters] = readChildren(der, algorithm, 2);
  const name = oid && textOf(der, oid);
  // A curve by its name.
  if (name === ecPublicKey && parameters?.tag === tags.oid) return textOf(der, algorithm);
  if (name !== rsaEncryption) return undefined;
  // The first byte says how many bits of the last are unused: none. RSAPublicKey ::= SEQUENCE {
  //   modulus INTEGER, publicExponent INTEGER }
  const pair = readElement(der, bits.start + 1, bits.end, tags.sequence);
  return `rsa ${bitsOf(contents(der, readElement(der, pair.start, pair.end, tags.integer)))}`;
}

/** The bytes of an element as characters. */
function textOf(der: Buffer, { at, end }: Element): string {
  return der.toString('latin1', at, end);
}

function bitsOf(number: Buffer): number {
  const first = number.findIndex((byte) => byte !== 0);
  return first === -1 ? 0 : 8 * (number.length - first) - Math.clz32(number[first] ?? 0) + 24;
}

function unlessFaulty<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof DerError) return undefined;
    throw error;
  }
}
