/** The beginning of a handshake, as the serving code answers it: a client's hello goes in, and no network is needed. */
import type { Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { ProxyError } from '../../errors.ts';
import { named } from '../../openssl/registries.ts';
import type { ReadHello } from '../../peek/client-hello.ts';
import type { TlsPolicy } from '../../tls/server/terminate.ts';
import { recordsOf } from './stand-in.ts';

/** What server and client would agree on: `1.3`, and the suite by OpenSSL's name. */
export type Agreement = { readonly version: string; readonly cipher: string };

/**
 * Hands the hello to the policy as a connection would. Resolves with what the server agreed to, or with the error that the
 * handshake ends with. Nothing is decided of the client's certificate, which comes later.
 */
export async function rehearse(
  policy: TlsPolicy,
  { hello, message }: ReadHello,
): Promise<Agreement | ProxyError> {
  const [client, server] = duplexPair();
  server.pause();
  client.on('error', () => {});
  server.on('error', () => {});
  try {
    client.write(recordsOf(message));
    // Of a socket the handshake needs what any stream has.
    const outcome = policy.handshake(server as unknown as Socket, hello);
    const answer = new Promise<Buffer>((resolve) => client.once('data', resolve));
    const failure = outcome.then(
      () => undefined,
      (error: unknown) => error,
    );
    const first = await Promise.race([answer, failure]);
    const agreed = Buffer.isBuffer(first) ? readServerHello(first) : undefined;
    if (agreed) return agreed;
    // The alert comes before its reason.
    const error = await failure;
    if (error instanceof ProxyError) return error;
    throw error;
  } finally {
    client.destroy();
    server.destroy();
  }
}

/** Undefined for an alert. */
function readServerHello(bytes: Buffer): Agreement | undefined {
  // A record (5 bytes) of struct { HandshakeType msg_type = 2; uint24 length; ProtocolVersion legacy_version; Random random;
  // opaque session_id<0..32>; CipherSuite cipher_suite; uint8 compression; Extension extensions<…>; }   RFC 8446 §4.1.3
  if (bytes[0] !== 22 || bytes[5] !== 2) return undefined;
  const sessionId = 5 + 4 + 2 + 32;
  const cipher = sessionId + 1 + (bytes[sessionId] ?? 0);
  const end = 5 + bytes.readUInt16BE(3);
  let version = bytes.readUInt16BE(9);
  for (let at = cipher + 5; at + 4 <= end; at += 4 + bytes.readUInt16BE(at + 2)) {
    if (bytes.readUInt16BE(at) === supportedVersions) version = bytes.readUInt16BE(at + 4);
  }
  return {
    version: nameOf('versions', version).replace('TLS ', ''),
    cipher: nameOf('ciphers', bytes.readUInt16BE(cipher)),
  };
}

const supportedVersions = 43;

function nameOf(field: 'versions' | 'ciphers', value: number): string {
  const [one] = named(field, [value]);
  return one?.name ?? one?.value ?? '';
}
