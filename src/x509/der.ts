/**
 * A strict reader of DER (X.690 §10): one-byte tags, definite and minimal lengths, everything within its
 * parent. Anything else throws a DerError. It does not recurse: the caller reads each level of a nested
 * value.
 */
import { isAscii, isUtf8 } from 'node:buffer';

export class DerError extends Error {}

/** One element of `der`: its tag byte, and where the element and its contents start and end. */
export type Element = {
  readonly tag: number;
  readonly at: number;
  readonly start: number;
  readonly end: number;
};

export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** The element at `at`, which must end by `limit`, and have the tag `tag` if one is given. */
export function readElement(der: Buffer, at: number, limit: number, tag?: number): Element {
  const found = der[at];
  const short = der[at + 1];
  if (at + 2 > limit || found === undefined || short === undefined) throw new DerError('cut short');
  if ((found & 0x1f) === 0x1f) throw new DerError('a tag of several bytes');
  if (tag !== undefined && found !== tag) throw new DerError(`tag ${found} where ${tag} belongs`);
  let start = at + 2;
  let length = short;
  if (short >= 0x80) {
    const bytes = short & 0x7f;
    if (bytes < 1 || bytes > 4 || start + bytes > limit)
      throw new DerError('a length that DER does not have');
    length = der.readUIntBE(start, bytes);
    if (length < 0x80 || (bytes > 1 && length < 256 ** (bytes - 1)))
      throw new DerError('a length not minimal');
    start += bytes;
  }
  if (start + length > limit) throw new DerError('longer than what holds it');
  return { tag: found, at, start, end: start + length };
}

/** The elements within `parent`, which must fill it exactly; more than `most` is an error. */
export function readChildren(der: Buffer, parent: Element, most: number, tag?: number): Element[] {
  const children: Element[] = [];
  for (let at = parent.start; at < parent.end; ) {
    if (children.length === most) throw new DerError(`more than ${most} elements`);
    const child = readElement(der, at, parent.end, tag);
    children.push(child);
    at = child.end;
  }
  return children;
}

/** The contents, without tag and length; shares memory with `der`. */
export function contents(der: Buffer, element: Element): Buffer {
  return der.subarray(element.start, element.end);
}

/** The element whole, with tag and length; shares memory with `der`. */
export function whole(der: Buffer, element: Element): Buffer {
  return der.subarray(element.at, element.end);
}

/** An OBJECT IDENTIFIER in dotted form. */
export function readOid(der: Buffer, { tag, start, end }: Element): string {
  if (tag !== tags.oid || start === end) throw new DerError('not an object identifier');
  let text = '';
  let arc = 0;
  for (let at = start; at < end; at += 1) {
    const byte = der[at] ?? 0;
    if (arc === 0 && byte === 0x80) throw new DerError('an arc not minimal');
    arc = arc * 128 + (byte & 0x7f);
    if (arc > Number.MAX_SAFE_INTEGER / 128) throw new DerError('an arc too large');
    if (byte >= 0x80) continue;
    // The first byte encodes two arcs, as 40 × first + second, where first is 0, 1 or 2.
    const first = Math.min(2, Math.floor(arc / 40));
    text += text === '' ? `${first}.${arc - first * 40}` : `.${arc}`;
    arc = 0;
  }
  if ((der[end - 1] ?? 0) >= 0x80) throw new DerError('an arc cut short');
  return text;
}

/**
 * A Time in milliseconds since 1970. Only the forms of RFC 5280 §4.1.2.5: YYMMDDHHMMSSZ and YYYYMMDDHHMMSSZ.
 */
export function readTime(der: Buffer, { tag, start, end }: Element): number {
  const text = der.toString('latin1', start, end);
  const digits = tag === tags.utcTime ? 12 : tag === tags.generalizedTime ? 14 : -1;
  if (text.length !== digits + 1 || !/^\d+Z$/.test(text)) throw new DerError('not a time');
  // Two-digit years from 50 on belong to the last century.
  const full = digits === 14 ? text : `${Number(text.slice(0, 2)) < 50 ? 20 : 19}${text}`;
  const part = (from: number): number => Number(full.slice(from, from + 2));
  const [year, month, day] = [Number(full.slice(0, 4)), part(4), part(6)];
  const [hour, minute, second] = [part(8), part(10), part(12)];
  const date = new Date(0);
  // Unlike Date.UTC, this takes the years 0 to 99 literally.
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  // Date carries an excess month, day, hour, minute or second over to the next larger unit.
  const isDay = date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  if (!isDay || hour > 23 || minute > 59 || second > 59) throw new DerError('no such time');
  return date.getTime();
}

/**
 * A character string of any type allowed in a name (RFC 5280 §4.1.2.4, and older ones still in use).
 * Undefined for bytes invalid in that type, and for text with a NUL, which C libraries read as its end.
 */
export function readText(der: Buffer, { tag, start, end }: Element): string | undefined {
  const bytes = der.subarray(start, end);
  const text = decoders[tag]?.(bytes);
  return text === undefined || text.includes('\0') ? undefined : text;
}

const ascii = (bytes: Buffer): string | undefined => (isAscii(bytes) ? bytes.toString('latin1') : undefined);

const decoders: Record<number, (bytes: Buffer) => string | undefined> = {
  12: (bytes) => (isUtf8(bytes) ? bytes.toString() : undefined), // UTF8String
  18: ascii, // NumericString
  19: ascii, // PrintableString
  20: (bytes) => bytes.toString('latin1'), // TeletexString: in practice Latin-1
  22: ascii, // IA5String
  26: ascii, // VisibleString
  28: (bytes) => decodeUnits(bytes, 4), // UniversalString: UTF-32
  30: (bytes) => decodeUnits(bytes, 2), // BMPString: UTF-16
};

function decodeUnits(bytes: Buffer, size: 2 | 4): string | undefined {
  if (bytes.length % size !== 0) return undefined;
  let text = '';
  for (let at = 0; at < bytes.length; at += size) {
    const unit = bytes.readUIntBE(at, size);
    if (unit > 0x10ffff) return undefined;
    text += size === 2 ? String.fromCharCode(unit) : String.fromCodePoint(unit);
  }
  return text.isWellFormed() ? text : undefined;
}
