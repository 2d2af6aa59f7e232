/**
 * Decrypts a TLS 1.3 server's flight with the secret from Node's 'keylog' event. No API of Node's shows what
 * a server sent: `getPeerCertificate` completes the chain from our own roots, and the CertificateRequest,
 * with the CAs that a server accepts, is not exposed at all.
 */
import { createDecipheriv } from 'node:crypto';
import { nonceOf, type RecordKeys, recordKeys } from '../../../openssl/record-keys.ts';
import { contentTypes, type Message, splitMessages, splitRecords } from '../../../peek/records.ts';

/**
 * The secret of `SERVER_HANDSHAKE_TRAFFIC_SECRET` in a line of a key log (RFC 9850 §2.1); undefined in other
 * lines.
 */
export function handshakeSecretIn(line: string): Buffer | undefined {
  const [, secret] = /^SERVER_HANDSHAKE_TRAFFIC_SECRET [0-9a-f]+ ([0-9a-f]+)\s*$/i.exec(line) ?? [];
  return secret === undefined ? undefined : Buffer.from(secret, 'hex');
}

/**
 * The encrypted handshake messages in what the server sent, up to the first record under later keys. None for
 * an unknown cipher. `cipher` is a standard name, such as TLS_AES_128_GCM_SHA256.
 */
export function decryptMessages(received: Buffer, secret: Buffer, cipher: string): Message[] {
  const keys = recordKeys(cipher, secret);
  if (!keys) return [];
  const plain: Buffer[] = [];
  const records = splitRecords(received).filter(({ type }) => type === contentTypes.applicationData);
  for (const [sequence, { header, body }] of records.entries()) {
    const inner = open(keys, sequence, header, body);
    if (inner === undefined) break;
    if (inner.type === contentTypes.handshake) plain.push(inner.content);
  }
  return splitMessages(Buffer.concat(plain));
}

/** RFC 8446 §5.2: content, its real type, zeros; undefined if it was encrypted with another key. */
function open(
  { cipher, key, iv }: RecordKeys,
  sequence: number,
  header: Buffer,
  body: Buffer,
): { type: number; content: Buffer } | undefined {
  if (body.length < 17) return undefined;
  const decipher = createDecipheriv(cipher, key, nonceOf(iv, sequence), { authTagLength: 16 });
  decipher.setAAD(header).setAuthTag(body.subarray(-16));
  let inner: Buffer;
  try {
    inner = Buffer.concat([decipher.update(body.subarray(0, -16)), decipher.final()]);
  } catch {
    // `final` throws only if the tag does not match the bytes or the key.
    return undefined;
  }
  const end = inner.findLastIndex((byte) => byte !== 0);
  return end < 0 ? undefined : { type: inner[end] ?? 0, content: inner.subarray(0, end) };
}
