/** What OpenSSL found wrong with the chain of a TLS socket's peer. */
import type { TLSSocket } from 'node:tls';
import { verifyErrorName } from '../openssl/verify-errors.ts';

/**
 * OpenSSL's name for it (CERT_HAS_EXPIRED, PERMITTED_VIOLATION, …), of several errors the last; undefined if nothing was.
 * `authorizationError` says UNSPECIFIED for two of three errors. Only the handle has the words behind it, which is
 * no public API; without it, it stays UNSPECIFIED.
 */
export function chainErrorOf(stream: TLSSocket): string | undefined {
  if (stream.authorized) return undefined;
  const code = String(stream.authorizationError ?? 'UNSPECIFIED');
  if (code !== 'UNSPECIFIED') return code;
  const { _handle: handle } = stream as unknown as { _handle?: { verifyError?: () => Error | null } };
  return verifyErrorName(code, handle?.verifyError?.()?.message ?? '');
}
