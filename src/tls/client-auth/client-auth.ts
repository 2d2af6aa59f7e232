/**
 * Client authentication: whether the client certificate of a handshake is good enough, and which of its
 * names to believe. Judges every connection anew, even resumed ones, since OpenSSL checks neither dates nor
 * CRLs when it resumes a session.
 */
import { hash, X509Certificate } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { ClientAuthConfig } from '../../config/schema/schema.ts';
import { ProxyError } from '../../errors.ts';
import { verifyError } from '../../openssl/verify-errors.ts';
import { type CertificateNames, printName, readCertificate } from '../../x509/certificate-names.ts';
import { pinOfKey } from '../../x509/pin.ts';
import { withoutIssuer } from '../chain-error.ts';
import { chainRefusal, type Refusal, stateRefusal } from './chain-refusal.ts';
import { compileRules, type RuleMatcher } from './client-rules.ts';
import { type Authority, createIssuers, type Issuers } from './issuers.ts';

/** What a TLS socket says about its peer after the handshake. */
export type PeerFacts = {
  readonly certificate: X509Certificate | undefined;
  /** The same in DER, if it is at hand: `certificate` is asked for only if this one isn't known. */
  readonly der?: Buffer | undefined;
  /**
   * Node's `authorizationError`; undefined if the chain was verified, now or in the
   * handshake that is being resumed.
   */
  readonly chainError: string | undefined;
  readonly resumed: boolean;
  /** The certificates that the client sent besides its own. Called only on full handshakes, and rarely. */
  readonly chain: () => readonly X509Certificate[];
};

/**
 * What a session remembers about its client: the certificate in DER, and whether OpenSSL verified its chain.
 */
type SessionFacts = { readonly certificate: Buffer | undefined; readonly verified: boolean };

/** What logs, TLVs and `authorize` may say about a client certificate. */
export type ClientCert = {
  /** SHA-256 of the certificate, in lower-case hex. */
  readonly fingerprint: string;
  /** `sha256:` and the base64 hash of its SubjectPublicKeyInfo; absent if the certificate cannot be read. */
  readonly spki?: string;
  /** What vouched for it; undefined if it was refused, and all of this is only its own claim. */
  readonly verifiedBy: 'authority' | 'pin' | undefined;
  readonly der: Buffer;
  /** The names are absent if a pin let it in, because nobody vouches for them. */
  readonly subject?: string;
  readonly sans?: readonly string[];
  /** For TLVs and `authorize`; only if an authority verified the certificate. */
  readonly names?: CertificateNames;
};

/** `cert` is undefined if none was presented. For a refused client, it is what its certificate claims. */
export type Verdict =
  | { readonly ok: true; readonly cert: ClientCert | undefined }
  | { readonly ok: false; readonly cert: ClientCert | undefined; readonly error: ProxyError };

export type ClientAuth = {
  /**
   * Judges a client at a given time (ms). Synchronous, so that nothing from the
   * client is read before the verdict.
   */
  readonly verify: (peer: PeerFacts, now: number) => Verdict;
  /**
   * Whether a client that resumes this session, and thus has its certificate, would
   * be let in at a given time (ms).
   */
  readonly mayResume: (session: SessionFacts, now: number) => boolean;
  /** Judges a client again that was let in before, by its certificate alone: its chain was verified then. */
  readonly recheck: (cert: ClientCert | undefined, now: number) => Verdict;
  /** What may be logged about an unverified certificate. */
  readonly describe: (certificate: X509Certificate) => ClientCert;
};

/**
 * The rules of one `client_auth` block. Loading has already checked which of `authority` and `pins` it has.
 */
export function createClientAuth(config: ClientAuthConfig, authority: Authority | undefined): ClientAuth {
  const policy: Policy = {
    config,
    authorityName: config.authority ?? '',
    issuers: createIssuers(authority ?? { certificates: [], crl: [] }),
    pins: config.pins && new Set(config.pins),
    allows: config.allow && compileRules(config.allow),
  };
  // Reading a certificate takes 60 µs, finding it by its fingerprint 1 µs. Keeps only
  // certificates that were let in.
  const known = new LRUCache<string, Identity>({ max: 1000 });
  const identityOf = (peer: PeerFacts): Identity | undefined => {
    const remembered = peer.der && known.get(fingerprintOf(peer.der));
    if (remembered) return remembered;
    const { certificate } = peer;
    return certificate && (known.get(fingerprintOf(certificate.raw)) ?? identify(certificate, policy));
  };
  const auth: ClientAuth = {
    verify(peer, now) {
      if (config.mode === 'none') return { ok: true, cert: undefined };
      const identity = identityOf(peer);
      if (identity === undefined) return withoutCertificate(config);
      const refusal = policy.pins ? refusePinned(identity, now) : refuse(identity, peer, now, policy);
      if (refusal) return { ok: false, cert: identity.claimed, error: toError(refusal, identity.claimed) };
      known.set(identity.claimed.fingerprint, identity);
      return { ok: true, cert: identity.accepted };
    },
    mayResume({ certificate: der, verified }, now) {
      const certificate = der && (known.get(fingerprintOf(der))?.certificate ?? parse(der));
      if (der && !certificate) return false;
      const chainError = verified ? undefined : 'UNSPECIFIED';
      return auth.verify({ certificate, chainError, resumed: true, chain: () => [] }, now).ok;
    },
    recheck(cert, now) {
      const certificate = cert && new X509Certificate(cert.der);
      // Without a handshake, OpenSSL checks no CRL.
      const chainError = certificate && policy.issuers.isRevoked(certificate) ? 'CERT_REVOKED' : undefined;
      return auth.verify({ certificate, chainError, resumed: true, chain: () => [] }, now);
    },
    describe: (certificate) => identify(certificate, policy).claimed,
  };
  return auth;
}

function fingerprintOf(der: Buffer): string {
  return hash('sha256', der, 'hex');
}

function parse(der: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(der);
  } catch {
    return undefined;
  }
}

type Policy = {
  readonly config: ClientAuthConfig;
  readonly authorityName: string;
  readonly issuers: Issuers;
  readonly pins: ReadonlySet<string> | undefined;
  readonly allows: RuleMatcher | undefined;
};

/** A certificate, and those of the policy's answers about it that do not change with time. */
type Identity = {
  readonly certificate: X509Certificate;
  readonly names: CertificateNames | undefined;
  readonly isForClients: boolean;
  readonly isPinned: boolean;
  readonly isAllowed: boolean;
  readonly claimed: ClientCert;
  readonly accepted: ClientCert;
};

// id-kp-clientAuth and anyExtendedKeyUsage (RFC 5280 §4.2.1.12)
const clientPurposes = ['1.3.6.1.5.5.7.3.2', '2.5.29.37.0'];

function identify(certificate: X509Certificate, policy: Policy): Identity {
  const der = certificate.raw;
  const fingerprint = fingerprintOf(der);
  const names = readCertificate(der);
  if (!names) {
    const claimed = { fingerprint, verifiedBy: undefined, der };
    const nothing = { isForClients: false, isPinned: false, isAllowed: false };
    return { certificate, names, ...nothing, claimed, accepted: claimed };
  }
  const spki = pinOfKey(names.spkiDer);
  const { subject, sans, extendedKeyUsage } = names;
  return {
    certificate,
    names,
    isForClients: extendedKeyUsage?.some((purpose) => clientPurposes.includes(purpose)) ?? true,
    isPinned: policy.pins?.has(spki) ?? false,
    isAllowed: policy.allows?.(names, spki) ?? true,
    claimed: { fingerprint, spki, verifiedBy: undefined, der, subject, sans },
    accepted: policy.pins
      ? { fingerprint, spki, verifiedBy: 'pin', der }
      : { fingerprint, spki, verifiedBy: 'authority', der, subject, sans, names },
  };
}

function withoutCertificate({ mode, allow }: ClientAuthConfig): Verdict {
  if (mode === 'request' && !allow) return { ok: true, cert: undefined };
  const error = new ProxyError('ERR_CLIENT_CERT_REQUIRED', {
    side: 'client',
    message: 'the client presented no certificate',
    hint:
      mode === 'require'
        ? 'configure the client with a certificate, or set client_auth.mode to request'
        : 'client_auth.allow lets in nobody without a certificate: leave it out to let such clients in',
  });
  return { ok: false, cert: undefined, error };
}

/** A pin names a key, whoever signed the certificate. Only its dates and purpose remain to be checked. */
function refusePinned(identity: Identity, now: number): Refusal | undefined {
  if (!identity.names) return unreadable;
  if (!identity.isPinned) {
    return {
      code: 'ERR_CLIENT_CERT_NOT_PINNED',
      what: `is not pinned: its key is ${identity.claimed.spki}`,
      hint: 'add that key to client_auth.pins to let the client in',
    };
  }
  return refuseByDate(identity.names, now) ?? refuseByPurpose(identity);
}

function refuse(identity: Identity, peer: PeerFacts, now: number, policy: Policy): Refusal | undefined {
  const { names } = identity;
  if (!names) return unreadable;
  const refusal = refuseByDate(names, now) ?? refuseByPurpose(identity);
  if (peer.chainError !== undefined) {
    const issuer = { name: printName(names.issuerDer), isKnown: policy.issuers.has(names.issuerDer) };
    const chain = chainRefusal(realError(peer.chainError, names, peer, policy), policy.authorityName, issuer);
    // Node keeps only one of several errors. A chain that is not ours matters more than a date.
    return chain.code === 'ERR_CLIENT_CERT_UNTRUSTED' ? chain : (refusal ?? chain);
  }
  if (refusal) return refusal;
  if (!identity.isAllowed) {
    return {
      code: 'ERR_CLIENT_CERT_NOT_ALLOWED',
      what: 'matches no entry of client_auth.allow',
      hint: `add an entry for it; its names are ${[names.subject, ...names.sans].join(', ')}`,
    };
  }
  return refuseByChain(identity, names, peer, now, policy);
}

/**
 * OpenSSL checks CRLs after the chain, so their errors hide a chain that leads nowhere. And when it passes
 * over a CA or a CRL, because its extensions or its scope do not fit, it says that there is none.
 */
function realError(
  name: string,
  names: CertificateNames,
  { certificate, chain }: PeerFacts,
  { issuers }: Policy,
): string {
  const kind = verifyError(name)?.kind;
  if (certificate === undefined) return name;
  if (withoutIssuer.has(name)) return issuers.hasSigned(certificate, chain()) ? 'INVALID_EXTENSION' : name;
  if (kind !== 'crl' && kind !== 'crl_stale') return name;
  if (!issuers.reaches(certificate, names, chain())) {
    return names.subjectDer.equals(names.issuerDer)
      ? 'DEPTH_ZERO_SELF_SIGNED_CERT'
      : 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY';
  }
  return name === 'UNABLE_TO_GET_CRL' && issuers.hasScopedList() ? 'DIFFERENT_CRL_SCOPE' : name;
}

/**
 * A session only remembers that the chain was verified once, so its dates are checked here; see issuers.ts.
 */
function refuseByChain(
  { certificate }: Identity,
  names: CertificateNames,
  { resumed, chain }: PeerFacts,
  now: number,
  { config, issuers, authorityName }: Policy,
): Refusal | undefined {
  if (resumed) return stateRefusal(issuers.check(certificate, names, now), authorityName);
  issuers.learn(certificate, names, chain, now);
  // A second check, because here OpenSSL gets its trusted CAs in a roundabout way (unnamed-authority.ts).
  if (config.send_ca_names !== false || issuers.check(certificate, names, now) !== 'unknown')
    return undefined;
  return chainRefusal('UNABLE_TO_GET_ISSUER_CERT_LOCALLY', authorityName, {
    name: printName(names.issuerDer),
    isKnown: issuers.has(names.issuerDer),
  });
}

const unreadable: Refusal = {
  code: 'ERR_CLIENT_CERT_UNTRUSTED',
  what: 'cannot be read: it is not strict DER, or says one thing twice',
  hint: 'issue a new one with a tool that follows RFC 5280',
};

function refuseByDate({ notBefore, notAfter }: CertificateNames, now: number): Refusal | undefined {
  if (now > notAfter) {
    return {
      code: 'ERR_CLIENT_CERT_EXPIRED',
      what: `expired at ${new Date(notAfter).toISOString()}`,
      hint: 'renew it',
    };
  }
  if (now >= notBefore) return undefined;
  return {
    code: 'ERR_CLIENT_CERT_NOT_YET_VALID',
    what: `is not valid before ${new Date(notBefore).toISOString()}`,
    hint: 'compare the clocks of this machine and of the CA',
  };
}

function refuseByPurpose({ names, isForClients }: Identity): Refusal | undefined {
  if (isForClients) return undefined;
  return {
    code: 'ERR_CLIENT_CERT_PURPOSE',
    what: `is not for clients: its extendedKeyUsage is ${names?.extendedKeyUsage?.join(', ').slice(0, 300) || 'empty'}`,
    hint: 'issue one with the extendedKeyUsage clientAuth (1.3.6.1.5.5.7.3.2)',
  };
}

function toError({ code, what, hint, alert, side = 'client' }: Refusal, cert: ClientCert): ProxyError {
  const name = cert.subject ? `${cert.subject} (sha256 ${cert.fingerprint})` : `sha256 ${cert.fingerprint}`;
  return new ProxyError(code, { side, message: `the client's certificate ${name} ${what}`, hint, alert });
}
