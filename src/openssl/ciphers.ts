/** The cipher suites of both sides, how strong keys must be, and the groups that clients are offered. */

/**
 * Mozilla's "intermediate" list (version 6.0), TLS 1.3 suites first; AES-128-GCM goes before AES-256-GCM for both key
 * types, because it costs less and breaks no later.
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
 * Level 2 refuses certificates with RSA keys below 2,048 bits, or signed with SHA-1, our own and the peer's. It is the
 * default of OpenSSL 3.2 and later; Node 20 and 22 have 3.0 with level 1. BoringSSL (Bun) knows no levels.
 */
const securityLevel = 'boringssl' in process.versions ? [] : ['@SECLEVEL=2'];

/**
 * `ciphers` of the configuration, or the default, as `node:tls` takes them: with a security level, unless the list names
 * one. The level is part of the list for TLS 1.2, so a list for TLS 1.3 alone gets a suite that the version makes void.
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

/** What the list is for: TLS 1.3 alone, whose suites it names, the versions before, or both. */
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
 * Mozilla's "intermediate" groups as one OpenSSL string for a server. OpenSSL's own default also has finite fields, with
 * which a client makes a server work far more than itself (D(HE)at, CVE-2002-20001), and P-521 and X448.
 */
export const defaultGroups = groupsFor(process.versions.openssl);

/**
 * Where clients present certificates. TLS 1.2 takes their keys only on curves that it would also agree on keys with
 * (RFC 8422 §5.1), so the third of NIST's is there, too, last.
 */
export const groupsForClientKeys = `${defaultGroups}:P-521`;

/** `/` sets off what is asked for, at the price of a round trip, before something further behind is taken (3.5 and later). */
function groupsFor(openssl: string): string {
  const [major = 0, minor = 0] = openssl.split('.').map(Number);
  const classical = 'X25519:P-256:P-384';
  // Older ones know neither the name, nor the slash.
  return major > 3 || (major === 3 && minor >= 5) ? `X25519MLKEM768 / ${classical}` : classical;
}
