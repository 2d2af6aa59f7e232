/**
 * Reads a certificate's names from its DER (RFC 5280 §4). Node's printed forms cannot be parsed safely
 * (CVE-2021-44532: a comma within one name looked like a second name).
 */
import { normalizeAddress } from '../net/address.ts';
import {
  contents,
  DerError,
  type Element,
  readChildren,
  readElement,
  readOid,
  readText,
  readTime,
  tags,
  whole,
} from './der.ts';

/**
 * Names for matching are complete and exact. If one name of a kind is unusable (it contains a NUL, or bytes
 * invalid for its type), the certificate counts as having none of that kind, since readers differ in which of
 * them they use.
 */
export type CertificateNames = {
  /**
   * For people and logs, in the form of RFC 4514: printable ASCII, everything else escaped, of limited
   * length.
   */
  readonly subject: string;
  /** In the certificate's order: the last is the most specific. */
  readonly cn: readonly string[];
  readonly ou: readonly string[];
  readonly uris: readonly string[];
  /** As written; DNS names are compared in lower case. */
  readonly dns: readonly string[];
  readonly emails: readonly string[];
  readonly ips: readonly string[];
  /**
   * The subject alternative names for people and logs, `DNS:a.example`, `URI:spiffe://…`; escaped, of limited
   * length.
   */
  readonly sans: readonly string[];
  readonly subjectDer: Buffer;
  readonly issuerDer: Buffer;
  /** The SubjectPublicKeyInfo, of which pins are a hash. */
  readonly spkiDer: Buffer;
  /** Milliseconds since 1970, both inclusive. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Dotted OIDs; undefined without the extension. */
  readonly extendedKeyUsage: readonly string[] | undefined;
};

/** Reads a certificate. Undefined if it is not strict DER, or repeats something. Shares memory with `der`. */
export function readCertificate(der: Buffer): CertificateNames | undefined {
  try {
    return readTbsCertificate(der);
  } catch (error) {
    if (error instanceof DerError) return undefined;
    throw error;
  }
}

/** Prints a Name, given in DER, in the form of RFC 4514, most specific part first, for people and logs. */
export function printName(der: Buffer): string {
  try {
    return printParts(der, readName(der, readElement(der, 0, der.length, tags.sequence)));
  } catch (error) {
    if (error instanceof DerError) return '(unreadable)';
    throw error;
  }
}

const limits = { names: 1000, extensions: 100, subjectLength: 512, sansLogged: 20, sanLength: 256 } as const;

const oids = {
  cn: '2.5.4.3',
  ou: '2.5.4.11',
  subjectAltName: '2.5.29.17',
  extendedKeyUsage: '2.5.29.37',
} as const;

// TBSCertificate ::= SEQUENCE {
//   version [0] EXPLICIT DEFAULT v1, serialNumber INTEGER, signature AlgorithmIdentifier, issuer Name,
//   validity SEQUENCE { notBefore Time, notAfter Time }, subject Name, subjectPublicKeyInfo SEQUENCE,
//   issuerUniqueID [1] OPTIONAL, subjectUniqueID [2] OPTIONAL, extensions [3] EXPLICIT OPTIONAL }
function readTbsCertificate(der: Buffer): CertificateNames {
  const certificate = readElement(der, 0, der.length, tags.sequence);
  if (certificate.end !== der.length) throw new DerError('bytes after the certificate');
  const tbs = readElement(der, certificate.start, certificate.end, tags.sequence);
  const fields = readChildren(der, tbs, 10);
  const first = fields[0]?.tag === 0xa0 ? 1 : 0;
  const [serial, signature, issuer, validity, subject, spki, ...rest] = fields.slice(first);
  if (!serial || !signature || !issuer || !validity || !subject || !spki) throw new DerError('cut short');
  if (issuer.tag !== tags.sequence || subject.tag !== tags.sequence || spki.tag !== tags.sequence) {
    throw new DerError('not a certificate');
  }
  const [notBefore, notAfter] = readChildren(der, validity, 2);
  if (!notBefore || !notAfter) throw new DerError('a validity without an end');
  const parts = readName(der, subject);
  const extensions = readExtensions(der, rest);
  return {
    subject: printParts(der, parts),
    cn: valuesOf(parts, oids.cn),
    ou: valuesOf(parts, oids.ou),
    ...readAlternativeNames(der, extensions.get(oids.subjectAltName)),
    subjectDer: whole(der, subject),
    issuerDer: whole(der, issuer),
    spkiDer: whole(der, spki),
    notBefore: readTime(der, notBefore),
    notAfter: readTime(der, notAfter),
    extendedKeyUsage: readKeyPurposes(der, extensions.get(oids.extendedKeyUsage)),
  };
}

/** One attribute of a Name; `joined` if it belongs to the same RDN as the previous one. */
type NamePart = {
  readonly oid: string;
  readonly value: Element;
  readonly text: string | undefined;
  readonly joined: boolean;
};

// Name ::= SEQUENCE OF SET OF SEQUENCE { type OBJECT IDENTIFIER, value ANY }
function readName(der: Buffer, name: Element): NamePart[] {
  const parts: NamePart[] = [];
  for (const rdn of readChildren(der, name, limits.names, tags.set)) {
    for (const [index, attribute] of readChildren(der, rdn, limits.names, tags.sequence).entries()) {
      const [type, value] = readChildren(der, attribute, 2);
      if (!type || !value) throw new DerError('an attribute without a value');
      parts.push({ oid: readOid(der, type), value, text: readText(der, value), joined: index > 0 });
    }
  }
  return parts;
}

function valuesOf(parts: readonly NamePart[], oid: string): string[] {
  return allOrNone(parts.filter((part) => part.oid === oid).map((part) => part.text));
}

function allOrNone(names: readonly (string | undefined)[]): string[] {
  const usable = names.filter((name) => name !== undefined);
  return usable.length === names.length ? usable : [];
}

// Extension ::= SEQUENCE { extnID OBJECT IDENTIFIER, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }
function readExtensions(der: Buffer, fields: readonly Element[]): Map<string, Element> {
  const extensions = new Map<string, Element>();
  const explicit = fields.find(({ tag }) => tag === 0xa3);
  if (!explicit) return extensions;
  const list = readElement(der, explicit.start, explicit.end, tags.sequence);
  for (const extension of readChildren(der, list, limits.extensions, tags.sequence)) {
    const [id, ...rest] = readChildren(der, extension, 3);
    const value = rest.at(-1);
    if (!id || value?.tag !== tags.octetString) throw new DerError('an extension without a value');
    const oid = readOid(der, id);
    // RFC 5280 §4.2 forbids repeated extensions; readers differ in which one they use.
    if (extensions.has(oid)) throw new DerError('an extension twice');
    extensions.set(oid, value);
  }
  return extensions;
}

function readKeyPurposes(der: Buffer, extension: Element | undefined): string[] | undefined {
  if (!extension) return undefined;
  const list = readElement(der, extension.start, extension.end, tags.sequence);
  return readChildren(der, list, limits.extensions).map((oid) => readOid(der, oid));
}

type AlternativeNames = Pick<CertificateNames, 'uris' | 'dns' | 'emails' | 'ips' | 'sans'>;

// GeneralName ::= CHOICE { otherName [0], rfc822Name [1] IA5String, dNSName [2] IA5String, x400Address [3],
//   directoryName [4], ediPartyName [5], uniformResourceIdentifier [6] IA5String, iPAddress [7] OCTET STRING,
//   registeredID [8] }
function readAlternativeNames(der: Buffer, extension: Element | undefined): AlternativeNames {
  if (!extension) return { uris: [], dns: [], emails: [], ips: [], sans: [] };
  const list = readElement(der, extension.start, extension.end, tags.sequence);
  const names = readChildren(der, list, limits.names).map((name) => ({
    tag: name.tag,
    bytes: contents(der, name),
  }));
  const ofKind = (kind: number, decode: (bytes: Buffer) => string | undefined): string[] =>
    allOrNone(names.filter(({ tag }) => tag === kind).map(({ bytes }) => decode(bytes)));
  const sans = names
    .slice(0, limits.sansLogged)
    .map(({ tag, bytes }) => bounded(printAlternativeName(tag, bytes), limits.sanLength));
  if (names.length > sans.length) sans.push(`(${names.length - sans.length} more)`);
  return {
    emails: ofKind(0x81, visibleAscii),
    dns: ofKind(0x82, visibleAscii),
    uris: ofKind(0x86, visibleAscii),
    ips: ofKind(0x87, printAddress),
    sans,
  };
}

/** Names in a subjectAltName are ASCII without spaces and controls; undefined for anything else. */
function visibleAscii(bytes: Buffer): string | undefined {
  const text = bytes.toString('latin1');
  return /^[!-~]+$/.test(text) ? text : undefined;
}

function printAddress(bytes: Buffer): string | undefined {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) return undefined;
  return normalizeAddress(bytes.toString('hex').replace(/(.{4})(?=.)/g, '$1:'));
}

function printAlternativeName(tag: number, bytes: Buffer): string {
  const printed = bytes.subarray(0, limits.sanLength);
  if (tag === 0x81) return `email:${escapeBytes(printed)}`;
  if (tag === 0x82) return `DNS:${escapeBytes(printed)}`;
  if (tag === 0x86) return `URI:${escapeBytes(printed)}`;
  if (tag === 0x87) return `IP:${printAddress(bytes) ?? '(unreadable)'}`;
  return tag === 0xa0 ? 'otherName' : tag === 0xa4 ? 'directoryName' : 'other';
}

/** The keywords of RFC 4514 §3, and three other well-known ones. Other types are printed by their OID. */
const keywords: Record<string, string> = {
  '2.5.4.3': 'CN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.9': 'STREET',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.12': 'title',
  '0.9.2342.19200300.100.1.1': 'UID',
  '0.9.2342.19200300.100.1.25': 'DC',
  '1.2.840.113549.1.9.1': 'emailAddress',
};

function printParts(der: Buffer, parts: readonly NamePart[]): string {
  const rdns: string[] = [];
  for (const { oid, value, text, joined } of parts) {
    // An unreadable value is printed in hex (RFC 4514 §2.4). No more is escaped than will be printed, since
    // unauthenticated clients choose these names and their lengths.
    const printed =
      text === undefined
        ? `#${whole(der, value).toString('hex', 0, limits.subjectLength)}`
        : escapeText(text.slice(0, limits.subjectLength));
    const attribute = `${keywords[oid] ?? oid}=${printed}`;
    if (joined) rdns.push(`${rdns.pop()}+${attribute}`);
    else rdns.push(attribute);
  }
  return bounded(rdns.reverse().join(','), limits.subjectLength);
}

function escapeText(text: string): string {
  if (/^[A-Za-z0-9._@:/*-]+(?: [A-Za-z0-9._@:/*-]+)*$/.test(text)) return text;
  const escaped = escapeBytes(Buffer.from(text)).replace(/^#/, '\\#');
  return escaped.replace(/^ | $/g, '\\ ');
}

/**
 * Printable ASCII with a backslash before `"+,;<>\`; every other byte as a backslash and two hex digits (RFC
 * 4514).
 */
function escapeBytes(bytes: Buffer): string {
  return bytes
    .toString('latin1')
    .replace(/[^ -~]|["+,;<>\\]/g, (char) =>
      char >= ' ' && char <= '~'
        ? `\\${char}`
        : `\\${Buffer.from(char, 'latin1').toString('hex').toUpperCase()}`,
    );
}

function bounded(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length)}...`;
}
