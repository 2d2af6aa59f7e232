/** The cipher suites of both sides and the groups that clients are offered, unless the configuration has its own. */

/**
 * Mozilla's "intermediate" list (version 6.0) as one OpenSSL string, TLS 1.3 suites first; AES-128-GCM goes before
 * AES-256-GCM for both key types, because it costs less and breaks no later.
 */
export const defaultCiphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/**
 * Mozilla's "intermediate" groups as one OpenSSL string for a server. OpenSSL's own default also has finite fields, with
 * which a client makes a server work far more than itself (D(HE)at, CVE-2002-20001), and P-521 and X448.
 */
export const defaultGroups = groupsFor(process.versions.openssl);

/** `/` sets off what is asked for, at the price of a round trip, before something further behind is taken (3.5 and later). */
function groupsFor(openssl: string): string {
  const [major = 0, minor = 0] = openssl.split('.').map(Number);
  const classical = 'X25519:P-256:P-384';
  // Older ones know neither the name, nor the slash.
  return major > 3 || (major === 3 && minor >= 5) ? `X25519MLKEM768 / ${classical}` : classical;
}
