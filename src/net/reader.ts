/** How sockets that we open are read: into memory that is used again. */
import type { OnReadOpts } from 'node:net';

/**
 * To be opened with the socket (`onread`), which does not read before `resume`; `deliver` is to be set by then. It is to call
 * `done`, if there is one, when it needs the chunk no more.
 */
export type Reader = { readonly onread: OnReadOpts; deliver: (chunk: Buffer, done?: () => void) => void };

/**
 * For a stream's 'data' event Node takes 64 KiB of fresh memory a read, however little comes. Here one buffer that all such
 * sockets share is read into, and copied out. When it was filled, more is on its way, and the next read has a buffer for
 * itself, which nobody copies and which comes back once it is written, warm in the cache.
 *
 * `npm run bench:compare -- --only messages,bulk-plain-down,bulk-tls-down` shows what that saves.
 */
export function createReader(): Reader {
  let wasFilled = false;
  const reader: Reader = {
    deliver() {},
    onread: {
      buffer: () => (wasFilled ? (spare.pop() ?? Buffer.allocUnsafeSlow(readBytes)) : shared),
      callback(length, buffer) {
        const read = buffer as Buffer; // one of those above
        wasFilled = length === readBytes;
        if (read === shared) reader.deliver(Buffer.from(shared.subarray(0, length)));
        else reader.deliver(read.subarray(0, length), () => putBack(read));
        return true;
      },
    },
  };
  return reader;
}

function putBack(buffer: Buffer): void {
  if (spare.length < mostSpare) spare.push(buffer);
}

const readBytes = 64 * 1024;
const shared = Buffer.allocUnsafeSlow(readBytes);
const spare: Buffer[] = [];
const mostSpare = 64;
