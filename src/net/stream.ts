/** One side of a connection once it is established, and the only ways in which penstock ends a socket. */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { alerts } from '../openssl/registries.ts';
import type { Reader } from './reader.ts';

/**
 * `stream` carries the payload. `raw` is the TCP or unix socket under it: the same object when there is no TLS. It is
 * kept because only it can send a reset.
 */
export type Stream = {
  readonly stream: Socket | TLSSocket;
  readonly raw: Socket;
  /** What the socket receives comes here, and not by 'data' events. */
  readonly reader?: Reader | undefined;
};

/**
 * Ends both at once; the peer sees a reset. Never destroy the TLS socket after its raw socket: that crashes the
 * process (Node 22 to 26). Here only the raw one is touched, and the TLS socket closes with it.
 */
export function abort({
  raw,
  stream = raw,
}: {
  readonly raw: Socket;
  readonly stream?: Socket | undefined;
}): void {
  if (raw.destroyed || parting.has(raw)) return;
  // While a FIN is on its way libuv refuses a reset, and Node then forgets the descriptor without closing it.
  if (stream.writableEnded && !stream.writableFinished && stream.writableLength === 0) {
    stream.once('finish', () => reset(raw));
  } else {
    reset(raw);
  }
}

function reset(raw: Socket): void {
  // Unix sockets have no reset; `resetAndDestroy` throws on a handle that is not TCP.
  if (raw.remoteAddress === undefined) raw.destroy();
  else raw.resetAndDestroy();
}

/**
 * Sends the last bytes (a TLS alert, an ErrorResponse) and closes such that the peer can read them: half-close, swallow
 * what still arrives, close on the peer's FIN or after a second. A plain close with unread bytes would send a reset,
 * which overtakes the bytes. A record that was sealed elsewhere goes to the raw socket while its TLS stream is `reader`: TLS
 * writes nothing behind it, not even a close_notify.
 */
export function closeWith(socket: Socket, bytes: Buffer | undefined, reader: Socket = socket): void {
  if (socket.destroyed) return;
  reader.removeAllListeners('data');
  reader.on('error', () => reader.destroy());
  const timer = setTimeout(() => reader.destroy(), 1000);
  reader.once('end', () => reader.destroy());
  reader.once('close', () => clearTimeout(timer));
  socket.end(bytes ?? Buffer.alloc(0));
  reader.resume();
}

/**
 * `closeWith` in the next turn of the loop, when TLS has sent what it still had, for a socket that its owner is about to
 * abort: from here on `abort` leaves it alone. It is closed after a second at the latest.
 */
export function partWith(raw: Socket, bytes: Buffer, reader: Socket): void {
  parting.add(raw);
  setImmediate(() => closeWith(raw, bytes, reader));
}

const parting = new WeakSet<Socket>();

/** A fatal TLS alert in the clear, as sent before any handshake (RFC 8446 §6). */
export function tlsAlert(description: keyof typeof alerts): Buffer {
  // struct { ContentType type = 21; ProtocolVersion = 0x0303; uint16 length = 2; AlertLevel fatal = 2; AlertDescription }
  return Buffer.from([21, 3, 3, 0, 2, 2, alerts[description]]);
}
