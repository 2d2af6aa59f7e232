/** What went wrong in a handshake with an upstream, in words that name it. */
import { ProxyError, systemCode } from '../../errors.ts';
import { alertIn, isNotTls, reasonOf } from '../../openssl/errors.ts';

/**
 * ERR_UPSTREAM_TLS for what Node and OpenSSL made of a failed handshake with `endpoint`: an upstream that speaks no TLS, one
 * that refused by an alert (named as RFC 8446 §6 has it), one that went away (also with no error at all).
 */
export function handshakeError(endpoint: string, error: Error | undefined): ProxyError {
  const code = systemCode(error);
  const { what, hint } = describe(code, error);
  return new ProxyError('ERR_UPSTREAM_TLS', {
    side: 'upstream',
    message: `${endpoint} ${what}${code && ` (${code})`}`,
    hint,
    cause: error,
  });
}

type Description = { readonly what: string; readonly hint: string };

function describe(code: string, error: Error | undefined): Description {
  if (isNotTls(code)) {
    return {
      what: 'does not speak TLS',
      hint: 'check the port, whether it wants starttls, or leave tls out',
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
      what: 'does not know secure renegotiation (RFC 5746), without which OpenSSL makes no connection by TLS 1.2',
      hint: 'update the upstream, or let it speak TLS 1.3; a switch of OpenSSL for old servers is not offered here',
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
    return 'the upstream refuses what is presented: see certificate, and whether it trusts its issuer';
  }
  return 'see the log of the upstream';
}
