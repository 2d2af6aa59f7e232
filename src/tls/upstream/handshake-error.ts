/** Says what went wrong in a handshake with an upstream. */
import { ProxyError, systemCode } from '../../errors.ts';
import { alertIn, isNotTls, reasonOf } from '../../openssl/errors.ts';

/**
 * ERR_UPSTREAM_TLS for a failed handshake with `endpoint`, from the error that Node and OpenSSL
 * reported: the upstream does not speak TLS, refused with an alert (named as in RFC 8446 §6), or went
 * away (`error` may then be undefined).
 */
export function handshakeError(endpoint: string, error: Error | undefined): ProxyError {
  const code = systemCode(error);
  const { what, hint } = describe(endpoint, code, error);
  return new ProxyError('ERR_UPSTREAM_TLS', {
    side: 'upstream',
    message: `${endpoint} ${what}${code && ` (${code})`}`,
    hint,
    cause: error,
  });
}

type Description = { readonly what: string; readonly hint: string };

function describe(endpoint: string, code: string, error: Error | undefined): Description {
  if (isNotTls(code)) {
    return {
      what: 'does not speak TLS',
      hint: `\`penstock probe ${endpoint}\` names what it speaks: set starttls for that, or leave tls out, or check the port`,
    };
  }
  if (error === undefined || code === 'ECONNRESET' || code === 'EPIPE') {
    return {
      what: 'closed the connection during the TLS handshake',
      hint: 'see the log of the upstream; it may want starttls, a server_name, or a certificate',
    };
  }
  if (code === 'ERR_SSL_UNSAFE_LEGACY_RENEGOTIATION_DISABLED') {
    return {
      what: 'does not support secure renegotiation (RFC 5746), which OpenSSL requires for TLS 1.2',
      hint: "update the upstream, or let it speak TLS 1.3; penstock does not offer OpenSSL's switch for old servers",
    };
  }
  const alert = alertIn(code);
  if (alert) return { what: `refused the handshake with the alert ${alert}`, hint: hintFor(alert) };
  return {
    what: `failed in the TLS handshake: ${reasonOf(error)}`,
    hint: 'compare min_version, max_version, ciphers and groups with what the upstream takes',
  };
}

function hintFor(alert: string): string {
  if (alert === 'unrecognized_name') return 'the upstream does not know that name: set server_name';
  if (alert === 'no_application_protocol')
    return 'the upstream takes none of the protocols offered: see alpn';
  if (alert === 'protocol_version') return 'see min_version and max_version';
  if (alert === 'handshake_failure') {
    return 'no version, cipher or group in common, or the upstream demands a certificate: see certificate';
  }
  if (alert.includes('certificate') || alert === 'unknown_ca') {
    return 'the upstream refuses what we present: see certificate, and whether it trusts the issuer';
  }
  return 'see the log of the upstream';
}
