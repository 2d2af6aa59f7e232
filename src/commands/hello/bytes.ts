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
 * begin with `#` do not count) or base64. What is none of these is taken as it is.
 */
export function recognizeBytes(input: Buffer): Buffer {
  const text = input
    .toString('latin1')
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('')
    .trim();
  const hex = text.replace(/0x|[\s:,]/gi, '');
  if (hex !== '' && hex.length % 2 === 0 && /^[0-9a-f]+$/i.test(hex)) return Buffer.from(hex, 'hex');
  // ContentType handshake(22), then the major version, which is 3 in all of SSL 3.0 and TLS: no hex begins like that.
  return text.startsWith('FgM') ? Buffer.from(text, 'base64') : input;
}
