/** What comes before the ClientHello: a PROXY header, and what a protocol says before it starts TLS. */

import { ProxyError } from '../errors.ts';
import type { Peek } from '../peek/peek.ts';
import { acceptSsl, readPreamble, refuse } from '../protocols/postgres/preamble.ts';
import { decodeProxyHeader } from '../proxy-protocol/decode.ts';
import type { Connection } from './state.ts';

/** What the client turned out to be: one with a ClientHello to read, a plain one, or a PostgreSQL CancelRequest. */
export type Opening =
  | { readonly kind: 'tls' | 'plain' }
  | { readonly kind: 'cancel'; readonly message: Buffer };

/** Requires a PROXY header of a trusted peer, and takes the client's address from it. */
export async function readProxyHeader(connection: Connection, peek: Peek): Promise<void> {
  const { record, listener } = connection;
  record.phase = 'proxy_header';
  const { address } = record.client;
  if (!listener.trustsPeer?.(address)) {
    throw new ProxyError('ERR_PROXY_HEADER_UNTRUSTED', {
      side: 'client',
      message: `${address} is not trusted to send PROXY headers, which this listener requires`,
      hint: `if it is your load balancer, add it to listeners.${listener.name}.accept_proxy_protocol.from`,
    });
  }
  const header = await peek.read(decodeProxyHeader);
  peek.drop(header.length);
  // With nothing behind it, it is a load balancer's health check: still a probe.
  connection.headerBytes = header.length;
  if (header.client === undefined) return;
  record.peer = record.client;
  record.client = header.client;
  record.destination = header.destination;
}

/** Finds out what the client speaks, answering what a PostgreSQL client asks before TLS. Leaves the ClientHello unread. */
export async function readOpening(connection: Connection, peek: Peek): Promise<Opening> {
  const { listener } = connection;
  if (!listener.takesTls) {
    connection.speaksPostgres = listener.config.starttls === 'postgres';
    return { kind: 'plain' };
  }
  if (listener.config.starttls === 'postgres') return readPostgresOpening(connection, peek);
  if (!listener.takesPlain) return { kind: 'tls' };
  connection.record.phase = 'peek';
  const first = await peek.read((bytes) => bytes[0]);
  return { kind: first === handshakeRecord ? 'tls' : 'plain' };
}

/** ContentType handshake(22), RFC 8446 §5.1: the first byte of any ClientHello. */
const handshakeRecord = 22;

/**
 * SSLRequest is answered S, GSSENCRequest N, each once. Nothing may follow a request before its answer: such bytes
 * would be taken for part of the protected session (CVE-2021-23222).
 */
async function readPostgresOpening(connection: Connection, peek: Peek): Promise<Opening> {
  const { record, raw } = connection;
  record.phase = 'starttls';
  let gssRefused = false;
  for (;;) {
    const preamble = await peek.read(readPreamble);
    switch (preamble.kind) {
      case 'tls':
        return { kind: 'tls' };
      case 'startup':
        connection.speaksPostgres = true;
        return plainPostgres(connection);
      case 'cancel':
        return { kind: 'cancel', message: preamble.message };
    }
    peek.drop(preamble.length);
    if (peek.length > 0) throw stuffed();
    if (preamble.kind === 'ssl_request') {
      raw.write(acceptSsl);
      return { kind: 'tls' };
    }
    if (gssRefused) {
      throw new ProxyError('ERR_STARTTLS_INVALID', { side: 'client', message: 'a second GSSENCRequest' });
    }
    gssRefused = true;
    raw.write(refuse);
  }
}

function plainPostgres({ listener }: Connection): Opening {
  if (listener.takesPlain) return { kind: 'plain' };
  throw new ProxyError('ERR_STARTTLS_REQUIRED', {
    side: 'client',
    message: 'the client does not ask for TLS',
    hint: 'connect with sslmode=require or stronger; sslmode=verify-full is best',
  });
}

function stuffed(): ProxyError {
  return new ProxyError('ERR_STARTTLS_STUFFED', {
    side: 'client',
    message: 'the client sent bytes ahead of the answer to its request for TLS',
    hint: 'this is how plain text is smuggled into a protected session (CVE-2021-23222)',
  });
}
