/** Mozilla's "intermediate" profile of server-side TLS, version 6.0, as far as a server without HTTP can follow it. */
import type { TlsListener } from './tls-listeners.ts';

/** In the words of OpenSSL, in Mozilla's order. */
export const intermediate = {
  protocols: ['TLSv1.2', 'TLSv1.3'],
  tls13: ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'],
  tls12: [
    'ECDHE-ECDSA-AES128-GCM-SHA256',
    'ECDHE-RSA-AES128-GCM-SHA256',
    'ECDHE-ECDSA-AES256-GCM-SHA384',
    'ECDHE-RSA-AES256-GCM-SHA384',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
    'ECDHE-RSA-CHACHA20-POLY1305',
  ],
  /** X25519MLKEM768, too, which the testers here do not know yet. */
  groups: ['X25519', 'prime256v1', 'secp384r1'],
  /** Bits. */
  keys: { ECDSA: 256, RSA: 2048 },
  maximumCertificateDays: 366,
} as const;

/**
 * Its suites of TLS 1.2 for servers with these keys, in order. Where there are staples, penstock has to choose the key before
 * OpenSSL chooses the suite, and takes ECDSA.
 */
export function tls12Suites({ keys, stapled = false }: Pick<TlsListener, 'keys' | 'stapled'>): string[] {
  const of = (key: string): string[] => intermediate.tls12.filter((suite) => suite.includes(`-${key}-`));
  const both = intermediate.tls12.filter((suite) => keys.some((key) => suite.includes(`-${key}-`)));
  return stapled ? keys.flatMap(of) : both;
}

/** Where clients present certificates, TLS 1.2 takes their keys on P-521 only if it would agree on keys there, too. */
export function groupsOf({ client }: Pick<TlsListener, 'client'>): string[] {
  return client ? [...intermediate.groups, 'secp521r1'] : [...intermediate.groups];
}
