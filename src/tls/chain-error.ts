/** What OpenSSL found wrong with the chain of a TLS socket's peer. */
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { verifyErrorName } from '../openssl/verify-errors.ts';

/**
 * OpenSSL's name for it (CERT_HAS_EXPIRED, PERMITTED_VIOLATION, …), given the peer's certificate; undefined if nothing was.
 *
 * Node keeps the last of several errors, and some that are the reason always have another behind them: what is no CA is then
 * called unfit for its purpose, a chain that is too long leads nowhere, and so does one with a CA that OpenSSL passed over.
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

/** Those errors that say that there is no issuer, be it that OpenSSL passed over the one there is. */
export const withoutIssuer: ReadonlySet<string> = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]);

/** OpenSSL's default for SSL_CTX_set_verify_depth(3), which Node leaves alone. */
const mostCas = 100;

/**
 * `authorizationError` says UNSPECIFIED for two of three errors. Only the handle has the words behind it, which is
 * no public API; without it, it stays UNSPECIFIED.
 */
function lastErrorOf(stream: TLSSocket): string | undefined {
  if (stream.authorized) return undefined;
  const code = String(stream.authorizationError ?? 'UNSPECIFIED');
  if (code !== 'UNSPECIFIED') return code;
  const { _handle: handle } = stream as unknown as { _handle?: { verifyError?: () => Error | null } };
  return verifyErrorName(code, handle?.verifyError?.()?.message ?? '');
}

/**
 * The certificates that a peer sent beyond its own, as they came; a root may be among them. Up to Node 24
 * `getPeerCertificate(true)` knows none of them once the socket was asked for this certificate, and Node 24 itself knows none
 * if the chain is trusted.
 */
export function sentChain(certificate: X509Certificate): X509Certificate[] {
  const chain: X509Certificate[] = [];
  for (let next = certificate.issuerCertificate; next; next = next.issuerCertificate) chain.push(next);
  return chain;
}

/** Those among them that lead up from it, by their names. Linear, whatever a peer sends: the first of a name counts. */
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

/** Whether the key is the one that signed it. */
export function hasSigned(ca: X509Certificate, certificate: X509Certificate): boolean {
  try {
    return certificate.verify(ca.publicKey);
  } catch {
    // A key that cannot be read.
    return false;
  }
}
