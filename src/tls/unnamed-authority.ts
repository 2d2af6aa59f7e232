/** Verification by CAs whose names are not sent to clients, which TLS allows (RFC 8446 §4.2.4, RFC 5246 §7.4.4). */
import tls from 'node:tls';

/**
 * Makes a secure context that trusts these CAs (PEM) and no others, and does not name them. Node names every CA that it is
 * given by `ca`, but none of those that a thread trusts by default, which a context without `ca` takes when it is made. So
 * for that moment they are what this thread trusts by default. Giving it back takes 30 ms. Throws where Node cannot do it
 * (before 22.19 and 24.5): the configuration is not taken there.
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
