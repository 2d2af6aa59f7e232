/** Reads a ServerHello: what a server chose (RFC 5246 §7.4.1.3, RFC 8446 §4.1.3). */
import { createHash } from 'node:crypto';
import { extensionTypes } from '../openssl/registries.ts';
import { createCursor, Malformed, readAll } from './cursor.ts';

export type ServerHello = {
  readonly version: number;
  readonly cipher: number;
  /** The key-exchange group. TLS 1.2 names it in a later message, if at all. */
  readonly group: number | undefined;
  /** Undefined under TLS 1.3, which encrypts it. */
  readonly alpn: string | undefined;
};

/** Reads the message without its header. It may be a HelloRetryRequest. Throws Malformed. */
export function readServerHello(body: Buffer): ServerHello {
  // struct {
  //   ProtocolVersion legacy_version; Random random[32]; opaque legacy_session_id_echo<0..32>;
  //   CipherSuite cipher_suite; uint8 legacy_compression_method = 0; Extension extensions<6..2^16-1>;
  // } ServerHello;
  const cursor = createCursor(body);
  const legacy = cursor.number(2);
  const isRetry = cursor.take(32).equals(retryRandom);
  cursor.vector(1);
  const cipher = cursor.number(2);
  cursor.number(1);
  const extensions = cursor.left() > 0 ? readExtensions(cursor.vector(2)) : new Map<number, Buffer>();
  const versions = extensions.get(extensionTypes.supported_versions);
  const share = extensions.get(extensionTypes.key_share);
  const alpn = extensions.get(extensionTypes.application_layer_protocol_negotiation);
  const version = versions ? createCursor(versions).number(2) : legacy;
  if (isRetry && !share) throw new Malformed('a HelloRetryRequest that asks for no group');
  return {
    version,
    cipher,
    // A retry has the group alone; otherwise a key share begins with it (§4.2.8).
    group: share && createCursor(share).number(2),
    alpn: alpn && readProtocol(alpn),
  };
}

/** RFC 8446 §4.1.3: the `random` that makes a ServerHello a HelloRetryRequest. */
const retryRandom = createHash('sha256').update('HelloRetryRequest').digest();

/** Extensions by type. Throws Malformed. */
export function readExtensions(bytes: Buffer): Map<number, Buffer> {
  return new Map(readAll(bytes, (cursor) => [cursor.number(2), cursor.vector(2)] as const));
}

function readProtocol(bytes: Buffer): string {
  return createCursor(createCursor(bytes).vector(2)).vector(1).toString('latin1');
}
