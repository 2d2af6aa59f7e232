/** BER as LDAP uses it (RFC 4511 §5.1): definite lengths, tags of one byte. Pure: bytes in, values out. */

/** `length` is that of the whole element. */
export type Element = { readonly tag: number; readonly content: Buffer; readonly length: number };

/** A tag and a length of up to four bytes: clients of Active Directory always write all four. */
const maxHead = 6;

/** Where an element's content begins and ends; undefined if more bytes are needed for that. */
export type Extent = { readonly start: number; readonly end: number };

/** Whether the first bytes can begin an element, and how far that reaches. */
export function extentOf(bytes: Buffer): Extent | undefined | 'invalid' {
  const [, first] = bytes;
  if (first === undefined) return undefined;
  if (first < 0x80) return { start: 2, end: 2 + first };
  const start = 2 + (first & 0x7f);
  // 0x80 is the indefinite form.
  if (first === 0x80 || start > maxHead) return 'invalid';
  return bytes.length < start ? undefined : { start, end: start + bytes.readUIntBE(2, start - 2) };
}

/** The elements that a content consists of; undefined if it is anything else. */
export function elementsIn(content: Buffer): Element[] | undefined {
  const elements: Element[] = [];
  for (let rest = content; rest.length > 0; ) {
    const extent = extentOf(rest);
    if (extent === undefined || extent === 'invalid' || extent.end > rest.length) return undefined;
    const { start, end } = extent;
    elements.push({ tag: rest.readUInt8(0), content: rest.subarray(start, end), length: end });
    rest = rest.subarray(end);
  }
  return elements;
}

/** An element of less than 128 bytes of content, or of less than 64 KiB. */
export function encode(tag: number, ...contents: (Buffer | string)[]): Buffer {
  const content = Buffer.concat(contents.map((part) => Buffer.from(part as string)));
  const { length } = content;
  const head = length < 0x80 ? [tag, length] : [tag, 0x82, length >>> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}
