/**
 * Names for the numbers of a ClientHello (IANA's TLS registries). Cipher suites and groups have the names that the
 * configuration takes, which are OpenSSL's.
 */

/** A number of a ClientHello: two bytes in hex (`0x1301`), and what it is called; null if that is not known here. */
export type Named = { readonly value: string; readonly name: string | null };

/** What GREASE is called: a value without meaning that keeps servers tolerant (RFC 8701). */
export const grease = 'GREASE';

/** The names of the values of one field, in their order. */
export function named(field: keyof typeof tables, values: readonly number[]): Named[] {
  const table = tables[field];
  return values.map((value) => ({
    value: `0x${value.toString(16).padStart(4, '0')}`,
    name: isGrease(value) ? grease : (table[value] ?? null),
  }));
}

/** The numbers of names of one field, in their order; those that are not known here are left out. */
export function numbersOf(field: keyof typeof tables, names: readonly string[]): number[] {
  const numbers = new Map(Object.entries(tables[field]).map(([number, name]) => [name, Number(number)]));
  return names.flatMap((name) => numbers.get(name) ?? []);
}

/** Whether it is one of 0x0a0a, 0x1a1a, … 0xfafa. */
export function isGrease(value: number): boolean {
  return (value & 0x0f0f) === 0x0a0a && value >> 8 === (value & 0xff);
}

const versions: Readonly<Record<number, string>> = {
  2: 'SSL 2.0',
  768: 'SSL 3.0',
  769: 'TLS 1.0',
  770: 'TLS 1.1',
  771: 'TLS 1.2',
  772: 'TLS 1.3',
};

const ciphers: Readonly<Record<number, string>> = {
  // No suites, but signals in their place (RFC 5746, RFC 7507).
  255: 'TLS_EMPTY_RENEGOTIATION_INFO_SCSV',
  22016: 'TLS_FALLBACK_SCSV',
  // TLS 1.3
  4865: 'TLS_AES_128_GCM_SHA256',
  4866: 'TLS_AES_256_GCM_SHA384',
  4867: 'TLS_CHACHA20_POLY1305_SHA256',
  4868: 'TLS_AES_128_CCM_SHA256',
  4869: 'TLS_AES_128_CCM_8_SHA256',
  // TLS 1.2 and before, with forward secrecy
  49195: 'ECDHE-ECDSA-AES128-GCM-SHA256',
  49196: 'ECDHE-ECDSA-AES256-GCM-SHA384',
  49199: 'ECDHE-RSA-AES128-GCM-SHA256',
  49200: 'ECDHE-RSA-AES256-GCM-SHA384',
  52392: 'ECDHE-RSA-CHACHA20-POLY1305',
  52393: 'ECDHE-ECDSA-CHACHA20-POLY1305',
  52394: 'DHE-RSA-CHACHA20-POLY1305',
  49324: 'ECDHE-ECDSA-AES128-CCM',
  49325: 'ECDHE-ECDSA-AES256-CCM',
  49326: 'ECDHE-ECDSA-AES128-CCM8',
  49327: 'ECDHE-ECDSA-AES256-CCM8',
  49187: 'ECDHE-ECDSA-AES128-SHA256',
  49188: 'ECDHE-ECDSA-AES256-SHA384',
  49191: 'ECDHE-RSA-AES128-SHA256',
  49192: 'ECDHE-RSA-AES256-SHA384',
  49161: 'ECDHE-ECDSA-AES128-SHA',
  49162: 'ECDHE-ECDSA-AES256-SHA',
  49171: 'ECDHE-RSA-AES128-SHA',
  49172: 'ECDHE-RSA-AES256-SHA',
  49160: 'ECDHE-ECDSA-DES-CBC3-SHA',
  49170: 'ECDHE-RSA-DES-CBC3-SHA',
  158: 'DHE-RSA-AES128-GCM-SHA256',
  159: 'DHE-RSA-AES256-GCM-SHA384',
  49310: 'DHE-RSA-AES128-CCM',
  49311: 'DHE-RSA-AES256-CCM',
  49314: 'DHE-RSA-AES128-CCM8',
  49315: 'DHE-RSA-AES256-CCM8',
  103: 'DHE-RSA-AES128-SHA256',
  107: 'DHE-RSA-AES256-SHA256',
  51: 'DHE-RSA-AES128-SHA',
  57: 'DHE-RSA-AES256-SHA',
  22: 'DHE-RSA-DES-CBC3-SHA',
  162: 'DHE-DSS-AES128-GCM-SHA256',
  163: 'DHE-DSS-AES256-GCM-SHA384',
  64: 'DHE-DSS-AES128-SHA256',
  106: 'DHE-DSS-AES256-SHA256',
  50: 'DHE-DSS-AES128-SHA',
  56: 'DHE-DSS-AES256-SHA',
  // static RSA
  156: 'AES128-GCM-SHA256',
  157: 'AES256-GCM-SHA384',
  49308: 'AES128-CCM',
  49309: 'AES256-CCM',
  49312: 'AES128-CCM8',
  49313: 'AES256-CCM8',
  60: 'AES128-SHA256',
  61: 'AES256-SHA256',
  47: 'AES128-SHA',
  53: 'AES256-SHA',
  10: 'DES-CBC3-SHA',
  5: 'RC4-SHA',
  4: 'RC4-MD5',
};

const groups: Readonly<Record<number, string>> = {
  19: 'P-192',
  21: 'P-224',
  22: 'secp256k1',
  23: 'P-256',
  24: 'P-384',
  25: 'P-521',
  26: 'brainpoolP256r1',
  27: 'brainpoolP384r1',
  28: 'brainpoolP512r1',
  29: 'X25519',
  30: 'X448',
  31: 'brainpoolP256r1tls13',
  32: 'brainpoolP384r1tls13',
  33: 'brainpoolP512r1tls13',
  256: 'ffdhe2048',
  257: 'ffdhe3072',
  258: 'ffdhe4096',
  259: 'ffdhe6144',
  260: 'ffdhe8192',
  // post-quantum, alone and with an elliptic curve
  512: 'MLKEM512',
  513: 'MLKEM768',
  514: 'MLKEM1024',
  4587: 'SecP256r1MLKEM768',
  4588: 'X25519MLKEM768',
  4589: 'SecP384r1MLKEM1024',
  25497: 'X25519Kyber768Draft00',
};

const signatureAlgorithms: Readonly<Record<number, string>> = {
  1027: 'ecdsa_secp256r1_sha256',
  1283: 'ecdsa_secp384r1_sha384',
  1539: 'ecdsa_secp521r1_sha512',
  2055: 'ed25519',
  2056: 'ed448',
  2052: 'rsa_pss_rsae_sha256',
  2053: 'rsa_pss_rsae_sha384',
  2054: 'rsa_pss_rsae_sha512',
  2057: 'rsa_pss_pss_sha256',
  2058: 'rsa_pss_pss_sha384',
  2059: 'rsa_pss_pss_sha512',
  2074: 'ecdsa_brainpoolP256r1tls13_sha256',
  2075: 'ecdsa_brainpoolP384r1tls13_sha384',
  2076: 'ecdsa_brainpoolP512r1tls13_sha512',
  1025: 'rsa_pkcs1_sha256',
  1281: 'rsa_pkcs1_sha384',
  1537: 'rsa_pkcs1_sha512',
  2308: 'mldsa44',
  2309: 'mldsa65',
  2310: 'mldsa87',
  // TLS 1.2 and before
  257: 'rsa_md5',
  513: 'rsa_pkcs1_sha1',
  514: 'dsa_sha1',
  515: 'ecdsa_sha1',
  769: 'rsa_sha224',
  770: 'dsa_sha224',
  771: 'ecdsa_sha224',
  1026: 'dsa_sha256',
  1282: 'dsa_sha384',
  1538: 'dsa_sha512',
};

const extensions: Readonly<Record<number, string>> = {
  0: 'server_name',
  1: 'max_fragment_length',
  5: 'status_request',
  10: 'supported_groups',
  11: 'ec_point_formats',
  13: 'signature_algorithms',
  14: 'use_srtp',
  15: 'heartbeat',
  16: 'application_layer_protocol_negotiation',
  17: 'status_request_v2',
  18: 'signed_certificate_timestamp',
  19: 'client_certificate_type',
  20: 'server_certificate_type',
  21: 'padding',
  22: 'encrypt_then_mac',
  23: 'extended_master_secret',
  24: 'token_binding',
  27: 'compress_certificate',
  28: 'record_size_limit',
  34: 'delegated_credential',
  35: 'session_ticket',
  41: 'pre_shared_key',
  42: 'early_data',
  43: 'supported_versions',
  44: 'cookie',
  45: 'psk_key_exchange_modes',
  47: 'certificate_authorities',
  48: 'oid_filters',
  49: 'post_handshake_auth',
  50: 'signature_algorithms_cert',
  51: 'key_share',
  57: 'quic_transport_parameters',
  13172: 'next_protocol_negotiation',
  17513: 'application_settings_old',
  17613: 'application_settings',
  30032: 'channel_id',
  51764: 'trust_anchors',
  65037: 'encrypted_client_hello',
  65281: 'renegotiation_info',
};

const tables = { versions, ciphers, groups, signatureAlgorithms, extensions } as const;
