/**
 * Opens private keys that APISIX has encrypted (`apisix.data_encryption.keyring`): AES-CBC with PKCS#7
 * padding in base64, whose initialization vector is the key itself.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { type Fields, type Kind, withKeys } from './objects.ts';

export type Keyring = readonly string[];

/** The keyring that APISIX comes with, which everybody knows. */
export const published: Keyring = ['qeddd145sfvddff3', 'edd1c9f0985e76a2'];

/** 16 bytes are AES-128, 32 bytes AES-256; APISIX knows no others. */
export function isKeyOfRing(key: string): boolean {
  return [16, 32].includes(Buffer.byteLength(key));
}

/** The object with its keys in clear. What cannot be opened stays as it is, and is a fault later. */
export function opened(kind: Kind, value: Fields, keyring: Keyring): Fields {
  return withKeys(kind, value, (text) => decrypted(text, keyring));
}

/** The object with its keys encrypted by the first of the keyring, as APISIX writes it. */
export function encrypted(kind: Kind, value: Fields, [key = '']: Keyring): Fields {
  return withKeys(kind, value, (text) => (isClear(text) ? encryptedBy(key, text) : text));
}

function isClear(text: string): boolean {
  return text.startsWith('---');
}

function encryptedBy(key: string, text: string): string {
  const cipher = createCipheriv(...cipherOf(key));
  return Buffer.concat([cipher.update(text), cipher.final()]).toString('base64');
}

/** The initialization vector is the key itself. */
function cipherOf(key: string): [algorithm: string, key: Buffer, iv: Buffer] {
  const bytes = Buffer.from(key);
  return [`aes-${bytes.length * 8}-cbc`, bytes, bytes.subarray(0, 16)];
}

/** Tries every key, as APISIX does: the first is only the one that encrypts. */
function decrypted(text: string, keyring: Keyring): string {
  if (isClear(text) || text.startsWith('$')) return text;
  for (const key of keyring) {
    const clear = decryptedBy(key, text);
    // A wrong key may leave a valid padding by chance.
    if (clear !== undefined && isClear(clear)) return clear;
  }
  return text;
}

function decryptedBy(key: string, text: string): string | undefined {
  try {
    const decipher = createDecipheriv(...cipherOf(key));
    return Buffer.concat([decipher.update(text, 'base64'), decipher.final()]).toString();
  } catch {
    return undefined;
  }
}
