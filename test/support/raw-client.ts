/** A client that speaks bytes: what it sends and when is up to the test. */
import { connect, type Socket, type TcpNetConnectOpts } from 'node:net';
import { Duplex } from 'node:stream';
import type { TestContext } from 'node:test';
import { systemCode } from '../../src/errors.ts';

export type RawClient = {
  readonly socket: Socket;
  /** Resolves when the connection is established. */
  readonly connected: Promise<unknown>;
  /** All that came so far. */
  readonly received: () => Buffer;
  /** Resolves with everything once that many bytes have come; rejects if the connection closes first. */
  readonly until: (length: number) => Promise<Buffer>;
  /** Everything that came, once it has closed. `ended`: the other side sent a FIN; `error`: `ECONNRESET` and the like. */
  readonly closed: Promise<{ received: Buffer; ended: boolean; error: string | undefined }>;
};

/** Connects to the port; half-open, so that it ends only when the test says so. Destroyed after the test. */
export function rawClient(
  t: Pick<TestContext, 'after'>,
  port: number,
  options: Partial<TcpNetConnectOpts> = {},
): RawClient {
  return watch(t, connect({ host: '127.0.0.1', allowHalfOpen: true, noDelay: true, ...options, port }));
}

/** The same over a unix socket. */
export function unixClient(t: Pick<TestContext, 'after'>, path: string): RawClient {
  return watch(t, connect({ path, allowHalfOpen: true }));
}

/** One segment each: the next is sent when the last has been acknowledged by the event loop's turn. */
export async function sendInPieces(socket: Socket, bytes: Buffer, size: number): Promise<void> {
  socket.setNoDelay(true);
  for (let at = 0; at < bytes.length && !socket.destroyed; at += size) {
    await new Promise<void>((resolve) => socket.write(bytes.subarray(at, at + size), () => resolve()));
    await new Promise(setImmediate);
  }
}

/** The socket as a stream for `tls.connect`, with these bytes in the same write as the first that TLS sends. */
export function withPrefix(socket: Socket, prefix: Buffer): Duplex {
  let ahead = prefix;
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      socket.write(Buffer.concat([ahead, chunk]), done);
      ahead = Buffer.alloc(0);
    },
    final(done) {
      socket.end(done);
    },
  });
  socket.on('data', (chunk) => stream.push(chunk));
  socket.on('end', () => stream.push(null));
  return stream;
}

/** Resolves at the first of these events, and leaves no listener behind. */
function nextEvent(socket: Socket, ...events: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      for (const event of events) socket.off(event, done);
      resolve();
    };
    for (const event of events) socket.on(event, done);
  });
}

function watch(t: Pick<TestContext, 'after'>, socket: Socket): RawClient {
  const chunks: Buffer[] = [];
  let length = 0;
  let ended = false;
  let error: string | undefined;
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    length += chunk.length;
  });
  socket.on('end', () => {
    ended = true;
  });
  socket.on('error', (thrown) => {
    error ??= systemCode(thrown);
  });
  t.after(() => socket.destroy());
  const received = () => Buffer.concat(chunks);
  return {
    socket,
    received,
    // Not by `once`, whose rejection nobody may be waiting for.
    connected: new Promise((resolve) => socket.once('connect', resolve)),
    async until(wanted) {
      while (length < wanted) {
        if (socket.destroyed) throw new Error(`closed after ${length} of ${wanted} bytes`);
        await nextEvent(socket, 'data', 'close');
      }
      return received();
    },
    closed: new Promise((resolve) =>
      socket.once('close', () => resolve({ received: received(), ended, error })),
    ),
  };
}
