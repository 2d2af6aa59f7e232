/**
 * Verifies by CAs whose names are not sent to clients, which TLS allows (RFC 8446 §4.2.4, RFC 5246 §7.4.4).
 */
import tls from 'node:tls';

/**
 * Creates a secure context that trusts only these CAs (PEM), but does not name them. Node names every CA that
 * it gets as `ca`, but none of the thread's default CAs, which a context without `ca` trusts from its
 * creation on. So these CAs are this thread's default for that moment. Restoring the default takes 30 ms.
 * Throws if Node cannot do it (before 22.19 and 24.5); there, the configuration is refused.
 */
export function trustingByDefault<T>(ca: readonly string[], create: () => T): T {
  const before = tls.getCACertificates('default');
  tls.setDefaultCACertificates([...ca]);
  try {
    return create();
  } finally {
    tls.setDefaultCACertificates(before);
  }
}
