/**
 * JA4, the fingerprint of a TLS client, as published by FoxIO
 * (technical_details/JA4.md; BSD 3-Clause, no patent).
 */
import { hash } from 'node:crypto';
import { extensionTypes, isGrease } from '../openssl/registries.ts';
import type { ClientHello } from './client-hello.ts';

/**
 * The JA4 of a hello received over TCP, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`. Ignores GREASE
 * everywhere, including the signature algorithms (where Chrome sends it since version 152).
 */
export function ja4(hello: ClientHello): string {
  const key = identityOf(hello);
  const known = key === undefined ? undefined : recent.get(key);
  if (known !== undefined || key === undefined) return known ?? compute(hello);
  if (recent.size >= maxRecent) recent.clear();
  const text = compute(hello);
  recent.set(key, text);
  return text;
}

/**
 * There are many clients, but few kinds of them: sorting and hashing takes eight
 * times as long as this look-up.
 */
const recent = new Map<string, string>();
const maxRecent = 1000;

/**
 * Everything the fingerprint depends on, unambiguously: the lengths come first. Undefined
 * for hellos too long to remember.
 */
function identityOf(hello: ClientHello): string | undefined {
  const { ciphers, extensions, signatureAlgorithms, versions, legacyVersion } = hello;
  const lists = [ciphers, extensions, signatureAlgorithms, versions];
  let text = String.fromCharCode(legacyVersion, ...lists.map(({ length }) => length));
  for (const list of lists) {
    if (list.length > 200) return undefined;
    text += String.fromCharCode(...list);
  }
  return text + (hello.alpn[0] ?? '');
}

function compute(hello: ClientHello): string {
  const ciphers = sortedWithoutGrease(hello.ciphers);
  const extensions = sortedWithoutGrease(hello.extensions);
  const domain = extensions[0] === serverName ? 'd' : 'i';
  const shape = `t${version(hello)}${domain}${count(ciphers)}${count(extensions)}${protocol(hello.alpn[0])}`;
  return `${shape}_${digest(hexList(ciphers))}_${digest(extensionText(extensions, hello.signatureAlgorithms))}`;
}

const serverName = extensionTypes.server_name;
const alpn = extensionTypes.application_layer_protocol_negotiation;

/**
 * The two characters for each wire version. DTLS is included because the specification has one table for all.
 */
const versionNames: Readonly<Record<number, string>> = {
  772: '13',
  771: '12',
  770: '11',
  769: '10',
  768: 's3',
  2: 's2',
  65279: 'd1',
  65277: 'd2',
  65276: 'd3',
};

/**
 * The highest of supported_versions, if present, since the server then goes by
 * it; otherwise the legacy version.
 */
function version({ versions, legacyVersion }: ClientHello): string {
  let highest = versions.length === 0 ? legacyVersion : 0;
  for (const candidate of versions) {
    if (candidate > highest && !isGrease(candidate)) highest = candidate;
  }
  return versionNames[highest] ?? '00';
}

function count(values: ArrayLike<number>): string {
  return values.length < 10 ? `0${values.length}` : String(Math.min(values.length, 99));
}

/** The first and last character of the first protocol or, if either is not alphanumeric, of its hex form. */
function protocol(name: string | undefined): string {
  if (name === undefined) return '00';
  const first = name.charCodeAt(0);
  const last = name.charCodeAt(name.length - 1);
  if (isAlphanumeric(first) && isAlphanumeric(last)) return String.fromCharCode(first, last);
  return (first >> 4).toString(16) + (last & 15).toString(16);
}

function isAlphanumeric(byte: number): boolean {
  const lower = byte | 0x20;
  return (byte >= 0x30 && byte <= 0x39) || (lower >= 0x61 && lower <= 0x7a);
}

/**
 * Leaves SNI and ALPN out, so that an application has one fingerprint whatever name it
 * dials. Algorithms keep their order.
 */
function extensionText(extensions: Uint16Array, algorithms: readonly number[]): string {
  const types = hexList(extensions.filter((type) => type !== serverName && type !== alpn));
  const rest = hexList(algorithms.filter((algorithm) => !isGrease(algorithm)));
  return rest === '' ? types : `${types}_${rest}`;
}

function digest(text: string): string {
  return text === '' ? '000000000000' : hash('sha256', text, 'hex').slice(0, 12);
}

/** `1301,1302`. Written digit by digit, in a sixth of the time that toString, padStart and join take. */
function hexList(values: ArrayLike<number>): string {
  if (values.length === 0) return '';
  const text = Buffer.allocUnsafe(5 * values.length).fill(comma);
  for (let index = 0, at = 0; index < values.length; index += 1, at += 5) {
    const value = values[index]!; // within the loop's bounds
    text[at] = digits[value >> 12]!; // four bits are always one digit
    text[at + 1] = digits[(value >> 8) & 15]!;
    text[at + 2] = digits[(value >> 4) & 15]!;
    text[at + 3] = digits[value & 15]!;
  }
  return text.toString('latin1', 0, text.length - 1);
}

const comma = 0x2c;
const digits = Buffer.from('0123456789abcdef');

function sortedWithoutGrease(values: readonly number[]): Uint16Array {
  return Uint16Array.from(values.filter((value) => !isGrease(value))).sort();
}
