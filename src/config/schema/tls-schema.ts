/** TLS options that both segments share. */
import { z } from 'zod';
import { oneOrMore } from './values.ts';

export const alpnName = z
  .string()
  .min(1)
  .max(255)
  .meta({ title: 'protocol name', samples: ['postgresql', 'h2', 'http/1.1', 'mqtt'] });
export const ciphers = oneOrMore(
  z
    .string()
    .min(1)
    .meta({ samples: ['ECDHE-ECDSA-AES128-GCM-SHA256', 'TLS_AES_128_GCM_SHA256'] }),
).describe(
  "OpenSSL names of TLS 1.2 cipher suites, and standard names of TLS 1.3 suites; default: Mozilla's intermediate list. Certificates with RSA keys below 2,048 bits or SHA-1 are refused, unless the list names another level than `@SECLEVEL=2`.",
);
export const groups = oneOrMore(
  z
    .string()
    .min(1)
    .meta({ samples: ['X25519MLKEM768', 'X25519', 'P-256'] }),
).describe(
  "Key-exchange groups, best first, such as X25519MLKEM768, X25519 or P-256. Default for clients: Mozilla's intermediate list (X25519MLKEM768 where OpenSSL has it, X25519, P-256, P-384), and with client_auth P-521 last, since TLS 1.2 accepts only client certificates with keys on these curves. Default towards upstreams: OpenSSL's own.",
);
