/** The key schedule and the records of TLS 1.3 with TLS_AES_128_GCM_SHA256 (RFC 8446 §§5.2, 7.1), for clients made by hand. */
import { createCipheriv, createDecipheriv, createHmac, hash } from 'node:crypto';

/** The secrets of a handshake: of either side's flight, and of what follows. */
export type Secrets = { readonly client: Buffer; readonly server: Buffer; readonly master: Buffer };

/** Protects or opens the records of one direction, one after the other. */
export type TrafficKeys = {
  /** A record of this inner type. */
  seal(type: number, content: Buffer): Buffer;
  /** The inner type and the content of a record, its header included. Throws if it was not sealed by these keys. */
  open(sealed: Buffer): { type: number; content: Buffer };
};

const nothing = Buffer.alloc(0);
const zeros = Buffer.alloc(32);

export function sha256(...parts: readonly Buffer[]): Buffer {
  return hash('sha256', Buffer.concat(parts), 'buffer');
}

export function hmac(key: Buffer, data: Buffer): Buffer {
  return createHmac('sha256', key).update(data).digest();
}

/** From the shared secret and the hash of the transcript up to ServerHello. */
export function handshakeSecrets(shared: Buffer, transcript: Buffer): Secrets {
  const next = (secret: Buffer) => expandLabel(secret, 'derived', sha256(), 32);
  const secret = hmac(next(hmac(zeros, zeros)), shared);
  return {
    client: expandLabel(secret, 'c hs traffic', transcript, 32),
    server: expandLabel(secret, 's hs traffic', transcript, 32),
    master: hmac(next(secret), zeros),
  };
}

/** HKDF-Expand-Label; at most 32 bytes. */
export function expandLabel(secret: Buffer, label: string, context: Buffer, length: number): Buffer {
  // struct { uint16 length; opaque label<7..255> = "tls13 " + Label; opaque context<0..255>; } HkdfLabel, then the counter 1
  const name = Buffer.from(`tls13 ${label}`);
  const info = [Buffer.from([0, length, name.length]), name, Buffer.from([context.length]), context];
  return hmac(secret, Buffer.concat([...info, Buffer.from([1])])).subarray(0, length);
}

export function trafficKeys(secret: Buffer): TrafficKeys {
  const key = expandLabel(secret, 'key', nothing, 16);
  const iv = expandLabel(secret, 'iv', nothing, 12);
  let sequence = 0n;
  const nonce = () => {
    const bytes = Buffer.from(iv);
    bytes.writeBigUInt64BE(bytes.readBigUInt64BE(4) ^ sequence, 4);
    sequence += 1n;
    return bytes;
  };
  return {
    seal(type, content) {
      const header = Buffer.from([23, 3, 3, 0, 0]);
      header.writeUInt16BE(content.length + 1 + 16, 3);
      const cipher = createCipheriv('aes-128-gcm', key, nonce()).setAAD(header);
      const body = [cipher.update(content), cipher.update(Buffer.from([type])), cipher.final()];
      return Buffer.concat([header, ...body, cipher.getAuthTag()]);
    },
    open(sealed) {
      const decipher = createDecipheriv('aes-128-gcm', key, nonce()).setAAD(sealed.subarray(0, 5));
      decipher.setAuthTag(sealed.subarray(-16));
      const inner = Buffer.concat([decipher.update(sealed.subarray(5, -16)), decipher.final()]);
      // Zeros behind the type are padding.
      let end = inner.length;
      while (inner[end - 1] === 0) end -= 1;
      return { type: inner[end - 1] ?? 0, content: inner.subarray(0, end - 1) };
    },
  };
}
