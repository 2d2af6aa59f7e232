/**
 * The numbers of TLS and their names (IANA's registries): versions, cipher suites, groups, signature
 * algorithms, extensions, alerts. Cipher suites and groups have OpenSSL's names, as in the configuration.
 */

/** A number in a ClientHello: two bytes in hex (`0x1301`) and its name; null if unknown. */
export type Named = { readonly value: string; readonly name: string | null };

/** The name for GREASE values, which have no meaning and keep servers tolerant (RFC 8701). */
export const grease = 'GREASE';

/** A list of numbers in a ClientHello. */
export type Field = keyof typeof tables;

/** The names of the values of one field, in their order. */
export function named(field: Field, values: readonly number[]): Named[] {
  const table = tables[field];
  return values.map((value) => ({
    value: `0x${value.toString(16).padStart(4, '0')}`,
    name: isGrease(value) ? grease : (table[value] ?? null),
  }));
}

/** The name of one value of a field, or its number in hex if unknown. */
export function registeredName(field: Field, value: number): string {
  const [one] = named(field, [value]);
  return one?.name ?? one?.value ?? '';
}

/** The numbers for names of one field, in their order, without unknown ones. */
export function numbersOf(field: Field, names: readonly string[]): number[] {
  const numbers = new Map(Object.entries(tables[field]).map(([number, name]) => [name, Number(number)]));
  return names.flatMap((name) => numbers.get(name) ?? []);
}

/** Every known value that can be negotiated in one field. */
export function allNumbers(field: Field): number[] {
  const names = Object.values(tables[field]).filter((name) => !name.endsWith('_SCSV'));
  return numbersOf(field, names);
}

/** An alert's name, or its number where it has none. */
export function alertName(alert: number): string {
  return alertNames.get(alert) ?? `alert ${alert}`;
}

/** Whether it is one of 0x0a0a, 0x1a1a, … 0xfafa. */
export function isGrease(value: number): boolean {
  return (value & 0x0f0f) === 0x0a0a && value >> 8 === (value & 0xff);
}

export const tls10 = 0x0301;
export const tls11 = 0x0302;
export const tls12 = 0x0303;
export const tls13 = 0x0304;

const versions: Readonly<Record<number, string>> = {
  2: 'SSL 2.0',
  768: 'SSL 3.0',
  [tls10]: 'TLS 1.0',
  [tls11]: 'TLS 1.1',
  [tls12]: 'TLS 1.2',
  [tls13]: 'TLS 1.3',
};

const ciphers: Readonly<Record<number, string>> = {
  // Not suites, but signals in the same list (RFC 5746, RFC 7507).
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

/** The extensions of a hello. */
export const extensionTypes = {
  server_name: 0,
  max_fragment_length: 1,
  status_request: 5,
  supported_groups: 10,
  ec_point_formats: 11,
  signature_algorithms: 13,
  use_srtp: 14,
  heartbeat: 15,
  application_layer_protocol_negotiation: 16,
  status_request_v2: 17,
  signed_certificate_timestamp: 18,
  client_certificate_type: 19,
  server_certificate_type: 20,
  padding: 21,
  encrypt_then_mac: 22,
  extended_master_secret: 23,
  token_binding: 24,
  compress_certificate: 27,
  record_size_limit: 28,
  delegated_credential: 34,
  session_ticket: 35,
  pre_shared_key: 41,
  early_data: 42,
  supported_versions: 43,
  cookie: 44,
  psk_key_exchange_modes: 45,
  certificate_authorities: 47,
  oid_filters: 48,
  post_handshake_auth: 49,
  signature_algorithms_cert: 50,
  key_share: 51,
  quic_transport_parameters: 57,
  next_protocol_negotiation: 13172,
  application_settings_old: 17513,
  application_settings: 17613,
  channel_id: 30032,
  trust_anchors: 51764,
  encrypted_client_hello: 65037,
  renegotiation_info: 65281,
} as const;

/** RFC 8446 §6.2, RFC 5246 §7.2. */
export const alerts = {
  close_notify: 0,
  unexpected_message: 10,
  bad_record_mac: 20,
  record_overflow: 22,
  handshake_failure: 40,
  bad_certificate: 42,
  unsupported_certificate: 43,
  certificate_revoked: 44,
  certificate_expired: 45,
  certificate_unknown: 46,
  illegal_parameter: 47,
  unknown_ca: 48,
  access_denied: 49,
  decode_error: 50,
  decrypt_error: 51,
  protocol_version: 70,
  insufficient_security: 71,
  internal_error: 80,
  inappropriate_fallback: 86,
  user_canceled: 90,
  missing_extension: 109,
  unsupported_extension: 110,
  unrecognized_name: 112,
  bad_certificate_status_response: 113,
  unknown_psk_identity: 115,
  certificate_required: 116,
  no_application_protocol: 120,
} as const;

const alertNames: ReadonlyMap<number, string> = new Map(
  Object.entries(alerts).map(([name, alert]) => [alert, name]),
);

const extensions: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(extensionTypes).map(([name, type]) => [type, name]),
);

const tables = { versions, ciphers, groups, signatureAlgorithms, extensions } as const;
