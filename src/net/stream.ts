/** One side of an established connection, and the only ways in which penstock ends a socket. */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { alerts } from '../openssl/registries.ts';
import type { Reader } from './reader.ts';

/**
 * `stream` carries the payload. `raw` is the TCP or unix socket below it, or the same object without TLS. We
 * keep it because only it can send a reset.
 */
export type Stream = {
  readonly stream: Socket | TLSSocket;
  readonly raw: Socket;
  /** If set, what the socket receives arrives here, not as 'data' events. */
  readonly reader?: Reader | undefined;
};

/**
 * Ends both at once; the peer sees a reset. Never destroy a TLS socket after its raw socket: that crashes the
 * process (Node 22 to 26). So this touches only the raw one, and the TLS socket closes with it.
 */
export function abort({
  raw,
  stream = raw,
}: {
  readonly raw: Socket;
  readonly stream?: Socket | undefined;
}): void {
  if (raw.destroyed || parting.has(raw)) return;
  // While a FIN is being sent, libuv refuses a reset, and Node then forgets the
  // descriptor without closing it.
  if (stream.writableEnded && !stream.writableFinished && stream.writableLength === 0) {
    stream.once('finish', () => reset(raw));
  } else {
    reset(raw);
  }
}

function reset(raw: Socket): void {
  // Unix sockets have no reset, and `resetAndDestroy` throws on a handle that is not TCP.
  if (raw.remoteAddress === undefined) raw.destroy();
  else raw.resetAndDestroy();
}

/**
 * Sends the last bytes (a TLS alert, an ErrorResponse) and closes so that the peer can read them:
 * half-closes, swallows what still arrives, and closes on the peer's FIN or after a second. A plain close
 * with unread bytes would send a reset, which overtakes our bytes. A record that was sealed elsewhere goes to
 * the raw socket, with its TLS stream as `reader`: then TLS writes nothing after it, not even a close_notify.
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
 * `closeWith` in the next turn of the event loop, once TLS has sent what it still had, for a socket that its
 * owner is about to abort: from here on `abort` leaves it alone. It closes after a second at the latest.
 */
export function partWith(raw: Socket, bytes: Buffer, reader: Socket): void {
  parting.add(raw);
  setImmediate(() => closeWith(raw, bytes, reader));
}

const parting = new WeakSet<Socket>();

/** A fatal TLS alert in the clear, for use before any handshake (RFC 8446 §6). */
export function tlsAlert(description: keyof typeof alerts): Buffer {
  // struct { ContentType type = 21; ProtocolVersion = 0x0303; uint16 length = 2;
  //          AlertLevel fatal = 2; AlertDescription; }
  return Buffer.from([21, 3, 3, 0, 2, 2, alerts[description]]);
}
