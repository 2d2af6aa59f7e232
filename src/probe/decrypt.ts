/**
 * Decrypts the flight of a TLS 1.3 server with the secret that Node's own handshake tells ('keylog'). No API of Node's
 * says what a server sent: `getPeerCertificate` completes the chain from our own roots, and the CertificateRequest with the
 * CAs that a server accepts is not shown at all.
 */
import { type CipherGCMTypes, createDecipheriv, createHmac } from 'node:crypto';
import { contentTypes, type Message, splitMessages, splitRecords } from './flight.ts';

/** The secret of `SERVER_HANDSHAKE_TRAFFIC_SECRET` in a line of a key log (RFC 9850 §2.1); undefined in other lines. */
export function handshakeSecretIn(line: string): Buffer | undefined {
  const [, secret] = /^SERVER_HANDSHAKE_TRAFFIC_SECRET [0-9a-f]+ ([0-9a-f]+)\s*$/i.exec(line) ?? [];
  return secret === undefined ? undefined : Buffer.from(secret, 'hex');
}

/**
 * The encrypted handshake messages among all that the server has sent, up to the first record that is of later keys. None
 * if the cipher is not known here. `cipher` is its standard name, such as TLS_AES_128_GCM_SHA256.
 */
export function decryptMessages(received: Buffer, secret: Buffer, cipher: string): Message[] {
  const suite = suites[cipher];
  if (!suite) return [];
  const key = expandLabel(suite.hash, secret, 'key', suite.keyLength);
  const iv = expandLabel(suite.hash, secret, 'iv', 12);
  const plain: Buffer[] = [];
  const records = splitRecords(received).filter(({ type }) => type === contentTypes.applicationData);
  for (const [sequence, { header, body }] of records.entries()) {
    const inner = open(suite.name, key, nonceOf(iv, sequence), header, body);
    if (inner === undefined) break;
    if (inner.type === contentTypes.handshake) plain.push(inner.content);
  }
  return splitMessages(Buffer.concat(plain));
}

const suites: Readonly<Record<string, { name: string; hash: string; keyLength: number } | undefined>> = {
  TLS_AES_128_GCM_SHA256: { name: 'aes-128-gcm', hash: 'sha256', keyLength: 16 },
  TLS_AES_256_GCM_SHA384: { name: 'aes-256-gcm', hash: 'sha384', keyLength: 32 },
  TLS_CHACHA20_POLY1305_SHA256: { name: 'chacha20-poly1305', hash: 'sha256', keyLength: 32 },
};

/** HKDF-Expand-Label with an empty context (RFC 8446 §7.1); what is asked for fits in one block of the hash. */
function expandLabel(hash: string, secret: Buffer, label: string, length: number): Buffer {
  // struct { uint16 length; opaque label<7..255> = "tls13 " + label; opaque context<0..255>; } HkdfLabel;
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.of(0, length, name.length), name, Buffer.of(0)]);
  return createHmac(hash, secret)
    .update(Buffer.concat([info, Buffer.of(1)]))
    .digest()
    .subarray(0, length);
}

/** RFC 8446 §5.3: the record's number, over the end of the IV. */
function nonceOf(iv: Buffer, sequence: number): Buffer {
  const nonce = Buffer.from(iv);
  nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ sequence) >>> 0, 8);
  return nonce;
}

/** RFC 8446 §5.2: content, its real type, zeros; undefined if it was encrypted by another key. */
function open(
  cipher: string,
  key: Buffer,
  nonce: Buffer,
  header: Buffer,
  body: Buffer,
): { type: number; content: Buffer } | undefined {
  if (body.length < 17) return undefined;
  const decipher = createDecipheriv(cipher as CipherGCMTypes, key, nonce, { authTagLength: 16 });
  decipher.setAAD(header).setAuthTag(body.subarray(-16));
  let inner: Buffer;
  try {
    inner = Buffer.concat([decipher.update(body.subarray(0, -16)), decipher.final()]);
  } catch {
    // The only thing that `final` throws of: the tag is of other bytes, or of another key.
    return undefined;
  }
  const end = inner.findLastIndex((byte) => byte !== 0);
  return end < 0 ? undefined : { type: inner[end] ?? 0, content: inner.subarray(0, end) };
}
