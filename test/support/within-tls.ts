/** TLS on a socket that may have spoken in plain text before. */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TestContext } from 'node:test';
import {
  type ConnectionOptions,
  createSecureContext,
  TLSSocket,
  type TLSSocketOptions,
  connect as tlsConnect,
} from 'node:tls';
import type { Credential } from './certificates.ts';

/** The server's side, with this certificate; its errors go unnoticed. */
export function serverTls(
  socket: Duplex,
  { cert, chain, key }: Credential,
  options: TLSSocketOptions = {},
): TLSSocket {
  const secureContext = createSecureContext({ cert: chain || cert, key });
  // Node takes any stream here; its types do not.
  const stream = new TLSSocket(socket as Socket, { isServer: true, secureContext, ...options });
  return stream.on('error', () => {});
}

/** A client's side, and what it reads, as latin1. No certificate is verified. */
export function clientTls(
  t: TestContext,
  socket: Duplex,
  options: ConnectionOptions,
): { stream: TLSSocket; text: () => string } {
  const stream = tlsConnect({ socket, rejectUnauthorized: false, ...options });
  t.after(() => stream.destroy());
  let text = '';
  stream.on('data', (data: Buffer) => {
    text += data.toString('latin1');
  });
  stream.on('error', () => {});
  return { stream, text: () => text };
}
