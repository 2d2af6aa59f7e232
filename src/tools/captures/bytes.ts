/** Where the bytes of a ClientHello come from when they do not come from a socket. */

/** More than any hello takes, even in hex with a lot of space; nothing further in is read. */
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
 * The bytes that the input stands for: TLS records as they are, or written in hex (spaces, colons, `0x` and lines that
 * begin with `#` do not count), as a dump of xxd, hexdump, od or Wireshark, or in base64. What is none of these is taken as
 * it is.
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
  // ContentType handshake(22), then the major version, which is 3 in all of SSL 3.0 and TLS: no hex begins like that.
  return text.startsWith('FgM') ? Buffer.from(text, 'base64') : input;
}

type Row = { readonly offset: number; readonly bytes: Buffer };

/** `00000010: 1603 0102 00 …  ASCII`, with a colon or without: each row says where it is, which tells it from plain hex. */
function readDump(lines: readonly string[]): Buffer | undefined {
  const rows = lines.filter((line) => line.trim() !== '').map(readRow);
  const [first, second] = rows;
  if (first === 'repeat' || first?.offset !== 0) return undefined;
  // What looks like hex may be the ASCII beside it: a row is as long as the next one lets it be.
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
    // An offset alone has nothing that could be repeated.
    if (row.bytes.length === 0) continue;
    pieces.push(row.bytes.subarray(0, width));
    at += Math.min(row.bytes.length, width);
  }
  return Buffer.concat(pieces);
}

/** `*` stands for repetitions of the row before it; the last row may be an offset alone. */
function readRow(line: string): Row | 'repeat' | undefined {
  if (line.trim() === '*') return 'repeat';
  const [, offset, hex = ''] =
    /^\s*([0-9a-f]{4,8})(?::?\s+((?:[0-9a-f]{2} {0,2})+)(?:$|[\s|>])|:?\s*$)/i.exec(line) ?? [];
  if (offset === undefined) return undefined;
  return { offset: Number.parseInt(offset, 16), bytes: Buffer.from(hex.replaceAll(' ', ''), 'hex') };
}
