/**
 * Opens private keys that APISIX has encrypted (`apisix.data_encryption.keyring`): AES-CBC with PKCS#7
 * padding in base64, whose initialization vector is the key itself.
 */
import { createDecipheriv } from 'node:crypto';
import { type Fields, isFields, type Kind } from './objects.ts';

export type Keyring = readonly string[];

/** The keyring that APISIX comes with, which everybody knows. */
export const published: Keyring = ['qeddd145sfvddff3', 'edd1c9f0985e76a2'];

/** 16 bytes are AES-128, 32 bytes AES-256; APISIX knows no others. */
export function isKeyOfRing(key: string): boolean {
  return [16, 32].includes(Buffer.byteLength(key));
}

/** The object with its keys in clear. What cannot be opened stays as it is, and is a fault later. */
export function opened(kind: Kind, value: Fields, keyring: Keyring): Fields {
  const open = (text: unknown) => (typeof text === 'string' ? decrypted(text, keyring) : text);
  if (kind === 'ssls') {
    const { key, keys } = value;
    return {
      ...value,
      ...(key !== undefined && { key: open(key) }),
      ...(Array.isArray(keys) && { keys: keys.map(open) }),
    };
  }
  const { tls, upstream } = value;
  return {
    ...value,
    ...(isFields(tls) && {
      tls: { ...tls, ...('client_key' in tls && { client_key: open(tls['client_key']) }) },
    }),
    ...(isFields(upstream) && { upstream: opened('upstreams', upstream, keyring) }),
  };
}

/** Tries every key, as APISIX does: the first is only the one that encrypts. */
function decrypted(text: string, keyring: Keyring): string {
  if (text.startsWith('---') || text.startsWith('$')) return text;
  for (const key of keyring) {
    const clear = decryptedBy(key, text);
    // A wrong key may leave a valid padding by chance.
    if (clear?.startsWith('---')) return clear;
  }
  return text;
}

function decryptedBy(key: string, text: string): string | undefined {
  const bytes = Buffer.from(key);
  try {
    const decipher = createDecipheriv(`aes-${bytes.length * 8}-cbc`, bytes, bytes.subarray(0, 16));
    return Buffer.concat([decipher.update(text, 'base64'), decipher.final()]).toString();
  } catch {
    return undefined;
  }
}
