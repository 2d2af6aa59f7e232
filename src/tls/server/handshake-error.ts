/** Why a handshake with a client failed, in our codes and words. */
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { type ConnectionCode, ProxyError, systemCode } from '../../errors.ts';
import { alertIn, reasonOf } from '../../openssl/errors.ts';

const codes: Record<string, ConnectionCode> = {
  ERR_SSL_NO_APPLICATION_PROTOCOL: 'ERR_TLS_ALPN_MISMATCH',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'ERR_TLS_VERSION_MISMATCH',
  ERR_SSL_VERSION_TOO_LOW: 'ERR_TLS_VERSION_MISMATCH',
  ERR_SSL_NO_SHARED_CIPHER: 'ERR_TLS_CIPHER_MISMATCH',
  ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM: 'ERR_TLS_CIPHER_MISMATCH',
  ERR_SSL_NO_SUITABLE_KEY_SHARE: 'ERR_TLS_CIPHER_MISMATCH',
  ERR_SSL_WRONG_CURVE: 'ERR_CLIENT_CERT_CURVE',
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'ERR_CLIENT_CERT_REQUIRED',
  ERR_TLS_HANDSHAKE_TIMEOUT: 'ERR_TLS_HANDSHAKE_TIMEOUT',
  ECONNRESET: 'ERR_CLIENT_CLOSED',
  EPIPE: 'ERR_CLIENT_CLOSED',
};

const messages: Partial<Record<ConnectionCode, [message: string, hint: string]>> = {
  ERR_TLS_ALPN_MISMATCH: [
    'none of the protocols that the client offers is in tls.alpn',
    'see `alpn` of this route',
  ],
  ERR_TLS_VERSION_MISMATCH: [
    'the client speaks none of the allowed TLS versions',
    'see min_version and max_version',
  ],
  ERR_TLS_CIPHER_MISMATCH: [
    'client and proxy have no cipher, group or key type in common',
    'see ciphers and groups',
  ],
  ERR_CLIENT_CERT_REQUIRED: [
    'the client presented no certificate',
    'this route requires one (client_auth): give the client its certificate and key',
  ],
  ERR_CLIENT_CLOSED: [
    'the client closed the connection during the handshake',
    'it may not trust our certificate',
  ],
};

/** What a failed handshake of this socket means. */
export function handshakeError(error: Error, stream: TLSSocket): ProxyError {
  const cause = systemCode(error);
  const code = codes[cause] ?? 'ERR_TLS_HANDSHAKE';
  if (code === 'ERR_CLIENT_CERT_CURVE') return wrongCurve(error, stream.getPeerX509Certificate());
  const [message, hint] = messages[code] ?? [describe(error, cause), undefined];
  return new ProxyError(code, { side: 'client', message, hint, cause: error });
}

/** TLS 1.2 accepts a client's key only on a curve that key exchange may use too (RFC 8422 §5.1). */
function wrongCurve(cause: Error, certificate: X509Certificate | undefined): ProxyError {
  const openSsl = certificate?.publicKey.asymmetricKeyDetails?.namedCurve ?? 'another curve';
  const curve = curves[openSsl] ?? openSsl;
  const fingerprint = certificate?.fingerprint256.replaceAll(':', '').toLowerCase();
  return new ProxyError('ERR_CLIENT_CERT_CURVE', {
    side: 'client',
    message: `the client's certificate (sha256 ${fingerprint}) has a key on ${curve}, and TLS 1.2 takes no key on a curve that is not in groups`,
    hint: `add ${curve} to tls.groups; under TLS 1.3, groups do not restrict certificates`,
    cause,
  });
}

/** OpenSSL's names for curves that are better known by others. */
const curves: Readonly<Record<string, string | undefined>> = {
  prime256v1: 'P-256',
  secp384r1: 'P-384',
  secp521r1: 'P-521',
};

function describe(error: Error, code: string): string {
  const alert = alertIn(code);
  if (alert) return `the client ended the handshake with the alert ${alert}`;
  return `the TLS handshake failed: ${reasonOf(error)} (${code})`;
}
