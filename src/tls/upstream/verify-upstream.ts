/** Whether the certificate that an upstream presented is the intended one. */
import type { X509Certificate } from 'node:crypto';
import type { UpstreamTlsConfig } from '../../config/schema/schema.ts';
import { type Code, ProxyError } from '../../errors.ts';
import { verifyError } from '../../openssl/verify-errors.ts';
import { isNamed } from '../../x509/is-named.ts';
import { pinOf } from '../../x509/pin.ts';

/** What to require of the certificate, and what to refer to when refusing it. */
export type Expectation = {
  readonly config: Pick<UpstreamTlsConfig, 'verify' | 'pins' | 'authority'>;
  /** A name or address that the certificate must be for with `verify: full`. */
  readonly name: string | undefined;
  /** For messages: the endpoint, and where its settings are (`upstreams.orders.tls`). */
  readonly endpoint: string;
  readonly setting: string;
};

/** What is known about the peer; for a resumed session, what its full handshake showed. */
export type UpstreamPeer = {
  readonly certificate: X509Certificate | undefined;
  /** OpenSSL's name for what was wrong with the chain in the full handshake; undefined if nothing was. */
  readonly chainError: string | undefined;
};

/**
 * Why we must not send payload to this upstream; undefined if it is the intended one. Call it on each
 * connection: on a resumed session Node checks neither name nor dates, and its verdict on the chain is that
 * of the first handshake. ERR_UPSTREAM_CERT_UNTRUSTED, _NAME or _NOT_PINNED.
 */
export function upstreamFault(
  { certificate, chainError }: UpstreamPeer,
  expectation: Expectation,
): ProxyError | undefined {
  const { verify, pins } = expectation.config;
  if (verify === 'none' && !pins) return undefined;
  if (!certificate) return untrusted(expectation, 'NO_CERTIFICATE', undefined);
  if (verify === 'full' || verify === 'ca') {
    const reason = chainError ?? dateError(certificate);
    if (reason) return untrusted(expectation, reason, certificate);
  }
  const { name } = expectation;
  if (verify === 'full' && !(name !== undefined && isNamed(certificate, name)))
    return misnamed(expectation, certificate);
  // `verify: pin` without pins trusts nobody.
  if (pins || verify === 'pin') return pinFault(certificate, expectation);
  return undefined;
}

function dateError(certificate: X509Certificate): string | undefined {
  const now = Date.now();
  if (now > Date.parse(certificate.validTo)) return 'CERT_HAS_EXPIRED';
  return now < Date.parse(certificate.validFrom) ? 'CERT_NOT_YET_VALID' : undefined;
}

function pinFault(
  certificate: X509Certificate,
  { config, endpoint, setting }: Expectation,
): ProxyError | undefined {
  const seen = pinOf(certificate);
  if (config.pins?.includes(seen)) return undefined;
  return refusal(
    'ERR_UPSTREAM_CERT_NOT_PINNED',
    `${endpoint} has a key that is not pinned: ${seen}`,
    `if that key is the right one, add it to ${setting}.pins`,
  );
}

function misnamed({ name, endpoint, setting }: Expectation, { subjectAltName }: X509Certificate): ProxyError {
  const has = subjectAltName ? `it is for ${shortened(subjectAltName)}` : 'it has no subjectAltName at all';
  return refusal(
    'ERR_UPSTREAM_CERT_NAME',
    `the certificate of ${endpoint} is not for ${name}: ${has}`,
    `set ${setting}.server_name to a name that the certificate has, or have one issued for ${name} (a CN does not count)`,
  );
}

function untrusted(
  { config, endpoint, setting }: Expectation,
  reason: string,
  certificate: X509Certificate | undefined,
): ProxyError {
  const { what, hint } = chainReason(reason);
  // Typed as a string, but undefined for a certificate with an empty issuer.
  const issuer: string | undefined = certificate?.issuer;
  const by = issuer ? `, issued by ${shortened(issuer.replaceAll('\n', ', '))}` : '';
  return refusal(
    'ERR_UPSTREAM_CERT_UNTRUSTED',
    `the certificate of ${endpoint} is not trusted: ${what} (${reason})${by}`,
    verifyError(reason)?.kind === 'issuer' && reason !== 'DEPTH_ZERO_SELF_SIGNED_CERT'
      ? `check that ${setting}.authority (${config.authority}) has the root that issued it, and that the upstream sends its intermediates`
      : hint,
  );
}

/**
 * What OpenSSL's name for a chain error means for a server's certificate, and what to do;
 * `what` is a sentence about "it".
 */
export function chainReason(name: string): { readonly what: string; readonly hint: string } {
  if (name === 'NO_CERTIFICATE') return { what: 'it sent none', hint: 'give the upstream a certificate' };
  const { what, remedy } = verifyError(name) ?? {
    what: 'does not verify',
    remedy: '`openssl verify` says more',
  };
  return { what: what.startsWith('or ') ? `it, ${what}` : `it ${what}`, hint: remedy };
}

function refusal(code: Code, message: string, hint: string): ProxyError {
  return new ProxyError(code, { side: 'upstream', message, hint });
}

/**
 * An upstream may present any number of names, in any characters. So this cuts them, and escapes them to
 * printable ASCII as RFC 4514 does.
 */
function shortened(text: string): string {
  const printable = text
    .slice(0, longest + 1)
    .replace(/[^\x20-\x7e]/gu, (character) =>
      Buffer.from(character).toString('hex').toUpperCase().replace(/../g, '\\$&'),
    );
  return printable.length > longest ? `${printable.slice(0, longest)}…` : printable;
}

const longest = 300;
