/** Gets the bytes of a ClientHello from a file or standard input. */

/** More than any hello needs, even in spaced-out hex; the rest is not read. */
const maxInput = 1024 * 1024;

/** Reads a file or standard input, up to a mebibyte. */
export async function readInput(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= maxInput) break;
  }
  return Buffer.concat(chunks);
}

/**
 * Decodes the input: raw TLS records, hex (ignoring spaces, colons, `0x` and lines that begin with `#`), a
 * dump of xxd, hexdump, od or Wireshark, or base64. Anything else is returned unchanged.
 */
export function recognizeBytes(input: Buffer): Buffer {
  const lines = input
    .toString('latin1')
    .split('\n')
    .filter((line) => !line.startsWith('#'));
  const dumped = readDump(lines);
  if (dumped) return dumped;
  const written = lines.join('').trim();
  // `xxd -i`: an array of C
  const text = /\{([^{}]*)\}/.exec(written)?.[1]?.trim() ?? written;
  const hex = text.replace(/0x|[\s:,]/gi, '');
  if (hex !== '' && hex.length % 2 === 0 && /^[0-9a-f]+$/i.test(hex)) return Buffer.from(hex, 'hex');
  // In base64, ContentType handshake(22) and the major version 3 of SSL 3.0 and all TLS; hex never begins
  // with this.
  return text.startsWith('FgM') ? Buffer.from(text, 'base64') : input;
}

type Row = { readonly offset: number; readonly bytes: Buffer };

/**
 * `00000010: 1603 0102 00 …  ASCII`, with or without a colon. Each row states its offset, which distinguishes
 * it from plain hex.
 */
function readDump(lines: readonly string[]): Buffer | undefined {
  const rows = lines.filter((line) => line.trim() !== '').map(readRow);
  const [first, second] = rows;
  if (first === 'repeat' || first?.offset !== 0) return undefined;
  // What looks like hex may be the ASCII column, so the next row's offset decides how long a row is.
  const width = (second !== 'repeat' && second?.offset) || 16;
  const pieces: Buffer[] = [];
  let at = 0;
  for (const [index, row] of rows.entries()) {
    if (row === 'repeat') continue;
    if (row === undefined || row.offset > maxInput) return undefined;
    const before = pieces.at(-1);
    for (; at < row.offset && before && rows[index - 1] === 'repeat'; at += before.length)
      pieces.push(before);
    if (at !== row.offset) return undefined;
    // A row with only an offset has no bytes to repeat.
    if (row.bytes.length === 0) continue;
    pieces.push(row.bytes.subarray(0, width));
    at += Math.min(row.bytes.length, width);
  }
  return Buffer.concat(pieces);
}

/** `*` repeats the previous row; the last row may be only an offset. */
function readRow(line: string): Row | 'repeat' | undefined {
  if (line.trim() === '*') return 'repeat';
  const [, offset, hex = ''] =
    /^\s*([0-9a-f]{4,8})(?::?\s+((?:[0-9a-f]{2} {0,2})+)(?:$|[\s|>])|:?\s*$)/i.exec(line) ?? [];
  if (offset === undefined) return undefined;
  return { offset: Number.parseInt(offset, 16), bytes: Buffer.from(hex.replaceAll(' ', ''), 'hex') };
}
