/** Certificates put together byte by byte: what no CA should sign, but some did. Only their names are real. */

export type Part = { readonly oid: string; readonly tag?: number; readonly value: string | Buffer };

/** An element: tag, length, contents. */
export function tlv(tag: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const size = body.length;
  const bytes = [size >> 16, (size >> 8) & 255, size & 255].slice(size > 0xffff ? 0 : size > 0xff ? 1 : 2);
  const length = size < 0x80 ? bytes : [0x80 | bytes.length, ...bytes];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

export const cn = '550403';
export const ou = '55040b';

/** A Name of one attribute an RDN; `oid` is the hex of its contents; the default type is UTF8String. */
export function nameDer(parts: readonly Part[]): Buffer {
  const attribute = ({ oid, tag = 12, value }: Part): Buffer =>
    tlv(0x30, tlv(0x06, Buffer.from(oid, 'hex')), tlv(tag, Buffer.from(value)));
  return tlv(0x30, ...parts.map((part) => tlv(0x31, attribute(part))));
}

/** An extension by the hex of its OID. */
export function extension(oid: string, value: Buffer): Buffer {
  return tlv(0x30, tlv(0x06, Buffer.from(oid, 'hex')), tlv(0x04, value));
}

/** A subjectAltName: `[tag, value]`, 0x81 e-mail, 0x82 DNS, 0x86 URI, 0x87 IP. */
export function alternativeNames(names: readonly (readonly [number, string | Buffer])[]): Buffer {
  return extension('551d11', tlv(0x30, ...names.map(([tag, value]) => tlv(tag, Buffer.from(value)))));
}

/** A certificate with this subject and these extensions; nothing signs it. */
export function certificateDer({
  subject = [],
  extensions = [],
  notBefore = tlv(0x17, Buffer.from('250102030405Z')),
  notAfter = tlv(0x18, Buffer.from('20500102030405Z')),
}: {
  subject?: readonly Part[];
  extensions?: readonly Buffer[];
  notBefore?: Buffer;
  notAfter?: Buffer;
}): Buffer {
  const algorithm = tlv(0x30, tlv(0x06, Buffer.from('2a8648ce3d040302', 'hex')));
  const tbs = tlv(
    0x30,
    tlv(0xa0, tlv(0x02, Buffer.from([2]))),
    tlv(0x02, Buffer.from([1])),
    algorithm,
    nameDer([{ oid: cn, value: 'Issuer' }]),
    tlv(0x30, notBefore, notAfter),
    nameDer(subject),
    tlv(0x30, algorithm, tlv(0x03, Buffer.from([0, 4]))),
    ...(extensions.length > 0 ? [tlv(0xa3, tlv(0x30, ...extensions))] : []),
  );
  return tlv(0x30, tbs, algorithm, tlv(0x03, Buffer.from([0, 1])));
}
