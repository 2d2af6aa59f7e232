/** Whether OpenSSL takes a certificate: keys too small and signatures too weak it refuses. */
import type { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { cipherOptions } from '../../openssl/ciphers.ts';
import type { LoadedPair } from './certificates.ts';
import { readStrength } from './der.ts';

/**
 * Throws OpenSSL's error, which `tls` would otherwise throw at the first connection. Asking costs as much as
 * everything else about a certificate together. OpenSSL judges by the keys and the signature algorithms of a
 * chain alone, so it is asked once for each combination of those. That the key fits must be known already.
 */
export function askOpenSsl(
  pair: Pick<LoadedPair, 'cert' | 'key' | 'passphrase'>,
  chain: readonly X509Certificate[],
): void {
  const kinds = chain.map(({ raw }) => readStrength(raw));
  const kind = kinds.includes(undefined) ? undefined : kinds.join();
  if (kind !== undefined && taken.has(kind)) return;
  const { cert, key, passphrase } = pair;
  createSecureContext({ ...cipherOptions(), cert, key, ...(passphrase !== undefined && { passphrase }) });
  if (kind !== undefined && taken.size < mostKinds) taken.add(kind);
}

const taken = new Set<string>();
const mostKinds = 1000;
