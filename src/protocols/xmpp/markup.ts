/**
 * XML as XMPP uses it: tags and text, without comments, processing instructions and document types (RFC 6120
 * §11.1). Pure: bytes in, values out.
 */
import type { Fault } from '../faults.ts';

/** More than the header of a stream or a tag ahead of TLS needs. */
export const maxMarkup = 4096;

export type Attributes = ReadonlyMap<string, string>;

/** `length` is in bytes. Names have their prefix; values are as written, with their entities. */
export type Markup = { readonly length: number } & (
  | { readonly kind: 'text' | 'declaration' }
  | { readonly kind: 'close'; readonly name: string }
  | { readonly kind: 'open' | 'empty'; readonly name: string; readonly attributes: Attributes }
);

/**
 * The first tag, or the text before it, given all that has arrived; undefined if more is needed. Throws what
 * `fault` returns once it cannot become one of at most `maxMarkup` bytes, and for text other than white space
 * unless `takesText`.
 */
export function readMarkup(bytes: Buffer, fault: Fault, takesText = true): Markup | undefined {
  if (!takesText && !isBlankUpToTag(bytes)) throw fault('sends text where a tag belongs');
  const end = bytes[0] === lessThan ? endOfTag(bytes) : bytes.indexOf(lessThan) - 1;
  if (end < 0 || end >= maxMarkup) {
    if (bytes.length >= maxMarkup) throw fault(`sends more than ${maxMarkup} bytes of XML without a tag`);
    if (hasControls(bytes)) throw fault('sends bytes that are no XML');
    return undefined;
  }
  const whole = bytes.subarray(0, end + 1);
  if (hasControls(whole)) throw fault('sends bytes that are no XML');
  const text = whole.toString('utf8');
  const markup = bytes[0] === lessThan ? tagIn(text) : ({ kind: 'text' } as const);
  if (markup === undefined) throw fault('sends a malformed tag');
  return { ...markup, length: whole.length };
}

const [lessThan, greaterThan, quote, apostrophe] = [0x3c, 0x3e, 0x22, 0x27];

/** Where a tag ends, which begins at 0; negative if it has no end yet. A > within quotes does not end it. */
function endOfTag(bytes: Buffer): number {
  let within: number | undefined;
  const length = Math.min(bytes.length, maxMarkup);
  for (let at = 1; at < length; at++) {
    const byte = bytes[at];
    if (within !== undefined) {
      if (byte === within) within = undefined;
    } else if (byte === greaterThan) {
      return at;
    } else if (byte === quote || byte === apostrophe) {
      within = byte;
    }
  }
  return -1;
}

/** ClientHellos begin with such bytes; tabs and line breaks are white space. */
function hasControls(bytes: Buffer): boolean {
  const end = Math.min(bytes.length, maxMarkup);
  for (let at = 0; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if (byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d) return true;
  }
  return false;
}

function isBlankUpToTag(bytes: Buffer): boolean {
  const end = bytes.indexOf(lessThan);
  return bytes.toString('latin1', 0, Math.min(end === -1 ? bytes.length : end, maxMarkup)).trim() === '';
}

type Tag = Markup extends infer One ? (One extends unknown ? Omit<One, 'length'> : never) : never;

function tagIn(text: string): Tag | undefined {
  if (/^<\?xml\s[^<]*\?>$/.test(text)) return { kind: 'declaration' };
  const [, slash = '', name = '', rest = '', empty = ''] = shape.exec(text) ?? [];
  if (name === '') return undefined;
  if (slash !== '') return rest.trim() === '' && empty === '' ? { kind: 'close', name } : undefined;
  const attributes = attributesIn(rest);
  return attributes && { kind: empty === '' ? 'open' : 'empty', name, attributes };
}

/** Names in ASCII are all that XMPP itself uses. */
const shape = /^<(\/?)([A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?)((?:\s[^<]*?)?)(\/?)>$/;
const attribute = /\s+([A-Za-z_][\w.:-]*)\s*=\s*(?:"([^"<]*)"|'([^'<]*)')/y;

function attributesIn(text: string): Attributes | undefined {
  const found = new Map<string, string>();
  let at = 0;
  while (text.slice(at).trim() !== '') {
    attribute.lastIndex = at;
    const [whole, name = '', double, single = ''] = attribute.exec(text) ?? [''];
    if (whole === '' || found.has(name)) return undefined;
    found.set(name, double ?? single);
    at += whole.length;
  }
  return found;
}
