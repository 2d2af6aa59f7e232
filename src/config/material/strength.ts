/** Whether OpenSSL takes a certificate: keys too small and signatures too weak it refuses. */
import type { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { cipherOptions } from '../../openssl/ciphers.ts';
import { DerError, readChildren, readElement, tags, whole } from '../../x509/der.ts';
import type { LoadedPair } from './certificates.ts';

/**
 * Throws OpenSSL's error, which `tls` would otherwise throw at the first connection. Asking costs as much as
 * everything else about a certificate together. OpenSSL judges by the keys and the signature algorithms of a
 * chain alone, so it is asked once for each combination of those. That the key fits must be known already.
 */
export function askOpenSsl(pair: LoadedPair, chain: readonly X509Certificate[]): void {
  const kinds = chain.map(kindOf);
  const kind = kinds.includes(undefined) ? undefined : kinds.join();
  if (kind !== undefined && taken.has(kind)) return;
  const { cert, key, passphrase } = pair;
  createSecureContext({ ...cipherOptions(), cert, key, ...(passphrase !== undefined && { passphrase }) });
  if (kind !== undefined && taken.size < mostKinds) taken.add(kind);
}

const taken = new Set<string>();
const mostKinds = 1000;

/** undefined if it has more to it than is looked at here. */
function kindOf(certificate: X509Certificate): string | undefined {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details = {} } = certificate.publicKey;
  const size = type === 'rsa' ? details.modulusLength : type === 'ec' ? details.namedCurve : undefined;
  const algorithm = signatureAlgorithm(certificate.raw);
  if (size === undefined || algorithm === undefined) return undefined;
  // The signature of a self-signed certificate is not judged.
  return [type, size, algorithm, certificate.subject === certificate.issuer].join(' ');
}

function signatureAlgorithm(der: Buffer): string | undefined {
  try {
    // Certificate ::= SEQUENCE {
    //   tbsCertificate SEQUENCE, signatureAlgorithm AlgorithmIdentifier, signature BIT STRING }
    const outer = readElement(der, 0, der.length, tags.sequence);
    const [, algorithm] = readChildren(der, outer, 3);
    return algorithm && whole(der, algorithm).toString('hex');
  } catch (error) {
    if (error instanceof DerError) return undefined;
    throw error;
  }
}
