/**
 * The default cipher suites of both sides, the minimum strength of keys, and the groups offered to clients.
 */

/**
 * Mozilla's "intermediate" list (version 6.0), TLS 1.3 suites first. AES-128-GCM comes before AES-256-GCM for
 * both key types, because it costs less and is no weaker in practice.
 */
const suites: readonly string[] = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
];

/**
 * Level 2 refuses certificates with RSA keys below 2,048 bits, or signed with SHA-1, our own as well as the
 * peer's. It is the default of OpenSSL 3.2 and later; Node 20 and 22 have 3.0 with level 1. BoringSSL (Bun)
 * has no levels.
 */
const securityLevel = 'boringssl' in process.versions ? [] : ['@SECLEVEL=2'];

/**
 * The configured `ciphers`, or the default, in the form for `node:tls`, with a security level unless the list
 * has one. The level belongs to the TLS 1.2 list, so a list only for TLS 1.3 gets an extra suite, which that
 * version ignores.
 */
export function cipherOptions(configured: readonly string[] = suites): {
  readonly ciphers: string;
  readonly minVersion?: 'TLSv1.3';
} {
  const list = configured.join(':').split(':');
  const levels = list.some((entry) => entry.includes('@SECLEVEL=')) ? [] : securityLevel;
  if (versionsOf(configured) !== '1.3') return { ciphers: [...list, ...levels].join(':') };
  return { ciphers: [...list, 'ECDHE-ECDSA-AES128-GCM-SHA256', ...levels].join(':'), minVersion: 'TLSv1.3' };
}

/** Which versions a list has suites for: only TLS 1.3, only older ones, or both. */
export function versionsOf(configured: readonly string[]): '1.3' | 'older' | 'both' {
  const suites = configured
    .join(':')
    .split(':')
    .filter((entry) => !entry.startsWith('@'));
  const ofTls13 = suites.filter((entry) => entry.startsWith('TLS_'));
  if (ofTls13.length === 0) return 'older';
  return ofTls13.length === suites.length ? '1.3' : 'both';
}

/**
 * Mozilla's "intermediate" groups as one OpenSSL string for a server. OpenSSL's own default also has P-521,
 * X448, and finite fields, with which a client can make a server work far more than itself (D(HE)at,
 * CVE-2002-20001).
 */
export const defaultGroups = groupsFor(process.versions.openssl);

/**
 * For routes where clients present certificates. TLS 1.2 accepts client keys only on curves that are also
 * offered for key exchange (RFC 8422 §5.1), so P-521 comes last.
 */
export const groupsForClientKeys = `${defaultGroups}:P-521`;

/**
 * A `/` separates groups of preference (OpenSSL 3.5 and later): the server would rather ask for one before
 * it, at the cost of a round trip, than accept one after it.
 */
function groupsFor(openssl: string): string {
  const [major = 0, minor = 0] = openssl.split('.').map(Number);
  const classical = 'X25519:P-256:P-384';
  // Older versions know neither the name nor the slash.
  return major > 3 || (major === 3 && minor >= 5) ? `X25519MLKEM768 / ${classical}` : classical;
}
