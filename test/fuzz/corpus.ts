/** The files of test/corpus. */
import { readdirSync, readFileSync } from 'node:fs';

/** All in a folder whose names end so, in the order of their names. */
export function corpusFiles(folder: 'hellos' | 'certificates', ending: string): Buffer[] {
  const url = new URL(`../corpus/${folder}/`, import.meta.url);
  return readdirSync(url)
    .filter((file) => file.endsWith(ending))
    .sort()
    .map((file) => readFileSync(new URL(file, url)));
}

/** Elements of DER that start an interesting branch somewhere. */
export const derTokens: readonly Buffer[] = [
  '0500',
  '0101ff',
  '020100',
  '0603550403',
  '060355040b',
  '0603551d11',
  '0603551d25',
  '0c0161',
  '130161',
  '160161',
  '1e020061',
  '1c0400000061',
  '170d3439313233313030303030305a',
  '180f32303439313233313030303030305a',
  '8100',
  '820161',
  '860161',
  '870401020304',
  'a000',
  'a200',
  'a300',
  '3000',
  '3100',
  '3080',
  '308100',
  '30820000',
  '0a0100',
  '8000',
  'a100',
  '0400',
].map((hex) => Buffer.from(hex, 'hex'));

/**
 * Sets the lengths of the elements that enclose the end, so that they reach it exactly; each keeps the number of bytes that
 * its length has. What is no DER stays as it is.
 */
export function repairDer(der: Buffer): Buffer {
  for (let at = 0, depth = 0; depth < 3 && at + 4 < der.length; depth++) {
    const short = der[at + 1]!; // within the bytes
    const size = short < 0x80 ? 0 : short & 0x7f;
    const start = at + 2 + size;
    if (size > 2 || start >= der.length) break;
    // Of a certificate, the first element within is what is read; what follows it is the signature.
    const length = der.length - start;
    if (depth === 0) {
      if (size === 0 && length < 0x80) der[at + 1] = length;
      else if (size > 0 && length < 256 ** size) der.writeUIntBE(length, at + 2, size);
    }
    at = start;
  }
  return der;
}
