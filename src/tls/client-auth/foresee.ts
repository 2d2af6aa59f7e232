/** Predicts client authentication: judges a client's certificates without a handshake. */
import type { X509Certificate } from 'node:crypto';
import type { ClientAuthConfig } from '../../config/schema/schema.ts';
import { type CertificateNames, readCertificate } from '../../x509/certificate-names.ts';
import { readRevocationList } from '../../x509/revocation-list.ts';
import { createClientAuth, type Verdict } from './client-auth.ts';
import { type Authority, createIssuers } from './issuers.ts';

/**
 * The verdict on a client that presents these certificates, its own first, then those above it; or none at
 * all. Everything except the chain is judged by the same code as in connections. There, OpenSSL follows the
 * chain; here, the code that checks resumed sessions does. `now` is in milliseconds.
 */
export function foreseeClientAuth(
  config: ClientAuthConfig,
  authority: Authority | undefined,
  [certificate, ...above]: readonly X509Certificate[],
  now: number,
): Verdict {
  const chainError = certificate && authority && chainErrorOf(certificate, above, authority, now);
  const peer = { certificate, chainError, resumed: false, chain: () => above };
  return createClientAuth(config, authority).verify(peer, now);
}

/** What OpenSSL would find wrong with the chain, by Node's name for it. */
function chainErrorOf(
  certificate: X509Certificate,
  above: readonly X509Certificate[],
  authority: Authority,
  now: number,
): string | undefined {
  const names = readCertificate(certificate.raw);
  if (names === undefined) return undefined;
  const issuers = createIssuers(authority);
  issuers.learn(certificate, names, () => above, now);
  const state = issuers.check(certificate, names, now);
  if (state === 'unknown') {
    return isSelfSigned(certificate, names)
      ? 'DEPTH_ZERO_SELF_SIGNED_CERT'
      : 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY';
  }
  const issuer = [...authority.certificates, ...above].filter((ca) => certificate.checkIssued(ca));
  if (!issuer.some((ca) => certificate.verify(ca.publicKey))) return 'CERT_SIGNATURE_FAILURE';
  // Node reports the last of several errors. OpenSSL checks CRLs first, then dates.
  if (state === 'expired' || now > names.notAfter) return 'CERT_HAS_EXPIRED';
  if (now < names.notBefore) return 'CERT_NOT_YET_VALID';
  const chain = [certificate, ...above];
  if (state === 'crl_expired') return crlErrorOf(chain, authority, now);
  return chain.some((one) => issuers.isRevoked(one)) ? 'CERT_REVOKED' : undefined;
}

/** OpenSSL works upwards from the client's certificate, and the last error is the one reported. */
function crlErrorOf(chain: readonly X509Certificate[], { crl }: Authority, now: number): string | undefined {
  const lists = crl.flatMap((pem) => readRevocationList(pem) ?? []);
  const errors = chain.flatMap(({ raw }) => {
    const names = readCertificate(raw);
    const ofIssuer = lists.filter(({ issuerDer }) => names?.issuerDer.equals(issuerDer));
    if (ofIssuer.length === 0) return 'UNABLE_TO_GET_CRL';
    return ofIssuer.some(({ nextUpdate }) => nextUpdate >= now) ? [] : 'CRL_HAS_EXPIRED';
  });
  return errors.at(-1);
}

/** Not by checkIssued, which says no for a certificate that must not sign certificates. */
function isSelfSigned(certificate: X509Certificate, { subjectDer, issuerDer }: CertificateNames): boolean {
  return subjectDer.equals(issuerDer) && certificate.verify(certificate.publicKey);
}
