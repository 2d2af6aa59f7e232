/** What OpenSSL found wrong with the certificate chain of a TLS socket's peer. */
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { verifyErrorName } from '../openssl/verify-errors.ts';

/**
 * OpenSSL's name for the error (CERT_HAS_EXPIRED, PERMITTED_VIOLATION, …), given the peer's
 * certificate; undefined if there was none.
 *
 * Node keeps only the last of several errors, and some real reasons are always followed by another: OpenSSL
 * then calls a certificate that is no CA unfit for its purpose, and says that there is no issuer when a chain
 * is too long or has a CA that OpenSSL passed over.
 */
export function chainErrorOf(
  stream: TLSSocket,
  certificate: X509Certificate | undefined,
): string | undefined {
  const name = lastErrorOf(stream);
  if (certificate === undefined) return name;
  if (name === 'INVALID_PURPOSE') {
    return linked(certificate).some(({ ca }) => !ca) ? 'INVALID_CA' : name;
  }
  if (name === undefined || !withoutIssuer.has(name)) return name;
  const chain = linked(certificate);
  if (chain.length > mostCas) return 'CERT_CHAIN_TOO_LONG';
  const isPassedOver = (ca: X509Certificate, index: number) =>
    !(chain[index - 1] ?? certificate).checkIssued(ca);
  const at = chain.findIndex(isPassedOver);
  const below = chain[at - 1] ?? certificate;
  return at >= 0 && hasSigned(chain[at]!, below) ? 'INVALID_EXTENSION' : name; // found
}

/** Errors that say there is no issuer, although OpenSSL may only have passed over the one there is. */
export const withoutIssuer: ReadonlySet<string> = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]);

/** OpenSSL's default for SSL_CTX_set_verify_depth(3), which Node does not change. */
const mostCas = 100;

/**
 * `authorizationError` is UNSPECIFIED for two errors out of three. Only the handle, which is not public API,
 * has the full message; without it, the name stays UNSPECIFIED.
 */
function lastErrorOf(stream: TLSSocket): string | undefined {
  if (stream.authorized) return undefined;
  const code = String(stream.authorizationError ?? 'UNSPECIFIED');
  if (code !== 'UNSPECIFIED') return code;
  const { _handle: handle } = stream as unknown as { _handle?: { verifyError?: () => Error | null } };
  return verifyErrorName(code, handle?.verifyError?.()?.message ?? '');
}

/**
 * The certificates that a peer sent besides its own, in their order; a root may be among them.
 * `getPeerCertificate(true)` is no substitute: up to Node 24 it has none of them once the socket was asked
 * for this certificate, and in Node 24 none if the chain is trusted.
 */
export function sentChain(certificate: X509Certificate): X509Certificate[] {
  const chain: X509Certificate[] = [];
  for (let next = certificate.issuerCertificate; next; next = next.issuerCertificate) chain.push(next);
  return chain;
}

/**
 * The ones among them that lead up from this certificate, by name. Linear whatever a peer sends:
 * the first of each name counts.
 */
function linked(certificate: X509Certificate): X509Certificate[] {
  const bySubject = new Map(
    sentChain(certificate)
      .map((one) => [one.subject, one] as const)
      .reverse(),
  );
  const chain: X509Certificate[] = [];
  let top = certificate;
  for (;;) {
    const next = bySubject.get(top.issuer);
    if (next === undefined) return chain;
    bySubject.delete(top.issuer);
    chain.push(next);
    top = next;
  }
}

/** Whether this CA's key signed the certificate. */
export function hasSigned(ca: X509Certificate, certificate: X509Certificate): boolean {
  try {
    return certificate.verify(ca.publicKey);
  } catch {
    // The key cannot be read.
    return false;
  }
}
