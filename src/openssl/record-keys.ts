/**
 * Derives the keys of TLS 1.3 records from a traffic secret, as given by Node's 'keylog' event (RFC 8446
 * §§5.3, 7.1, 7.3).
 */
import { type CipherGCMTypes, createHmac } from 'node:crypto';

/** `cipher` is the name for `createCipheriv`; all have tags of 16 bytes. */
export type RecordKeys = { readonly cipher: CipherGCMTypes; readonly key: Buffer; readonly iv: Buffer };

/** The keys for a suite by its standard name (TLS_AES_128_GCM_SHA256); undefined for an unknown suite. */
export function recordKeys(suite: string, secret: Buffer): RecordKeys | undefined {
  const known = suites[suite];
  if (!known) return undefined;
  const { cipher, hash, keyLength } = known;
  return {
    cipher,
    key: expandLabel(hash, secret, 'key', keyLength),
    iv: expandLabel(hash, secret, 'iv', 12),
  };
}

/** RFC 8446 §5.3: the record's number XORed onto the end of the IV. */
export function nonceOf(iv: Buffer, sequence: number): Buffer {
  const nonce = Buffer.from(iv);
  nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ sequence) >>> 0, 8);
  return nonce;
}

type Suite = { readonly cipher: CipherGCMTypes; readonly hash: string; readonly keyLength: number };

const suites: Readonly<Record<string, Suite | undefined>> = {
  TLS_AES_128_GCM_SHA256: { cipher: 'aes-128-gcm', hash: 'sha256', keyLength: 16 },
  TLS_AES_256_GCM_SHA384: { cipher: 'aes-256-gcm', hash: 'sha384', keyLength: 32 },
  // Used like GCM, although Node's types treat it separately.
  TLS_CHACHA20_POLY1305_SHA256: {
    cipher: 'chacha20-poly1305' as CipherGCMTypes,
    hash: 'sha256',
    keyLength: 32,
  },
};

/** HKDF-Expand-Label with an empty context (RFC 8446 §7.1), for lengths of at most one hash block. */
function expandLabel(hash: string, secret: Buffer, label: string, length: number): Buffer {
  // struct { uint16 length; opaque label<7..255> = "tls13 " + label; opaque context<0..255>; } HkdfLabel;
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.of(0, length, name.length), name, Buffer.of(0)]);
  return createHmac(hash, secret)
    .update(Buffer.concat([info, Buffer.of(1)]))
    .digest()
    .subarray(0, length);
}
