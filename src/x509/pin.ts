/** The pin of a key, as the configuration's `pins` and the log have it. */
import { hash, type X509Certificate } from 'node:crypto';

/** `sha256:`, and the base64 of the SHA-256 of a SubjectPublicKeyInfo in DER. */
export function pinOfKey(spkiDer: Buffer): string {
  return `sha256:${hash('sha256', spkiDer, 'base64')}`;
}

/** The pin of a certificate's key. Throws OpenSSL's error for a key that it cannot read. */
export function pinOf({ publicKey }: X509Certificate): string {
  return pinOfKey(publicKey.export({ type: 'spki', format: 'der' }));
}
