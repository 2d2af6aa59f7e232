/** How we read sockets that we open: into memory that is reused. */
import type { OnReadOpts } from 'node:net';

/**
 * Pass `onread` when opening the socket, and set `deliver` before `resume`, which starts the reading.
 * `deliver` must call `done`, if there is one, once it no longer needs the chunk.
 */
export type Reader = { readonly onread: OnReadOpts; deliver: (chunk: Buffer, done?: () => void) => void };

/**
 * For a stream's 'data' event, Node allocates 64 KiB per read, however little arrives. Here, all such
 * sockets read into one shared buffer, and the bytes are copied out. If a read filled it, more is on its
 * way: the next read gets a buffer of its own, which is not copied, and comes back for reuse once it is
 * written, still warm in the cache.
 *
 * `npm run bench:compare -- --only messages,bulk-plain-down,bulk-tls-down` shows what this saves.
 */
export function createReader(): Reader {
  let wasFilled = false;
  const reader: Reader = {
    deliver() {},
    onread: {
      buffer: () => (wasFilled ? (spare.pop() ?? Buffer.allocUnsafeSlow(readBytes)) : shared),
      callback(length, buffer) {
        const read = buffer as Buffer; // one of the two above
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
