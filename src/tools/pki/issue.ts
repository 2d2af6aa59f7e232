/**
 * Makes certificates, keys and revocation lists (RFC 5280), for `penstock pki`, the demo and the tests. PEM
 * texts in, PEM texts out: it reads and writes no files, and keeps no state.
 */
import { createPrivateKey, randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { pinOf as pinOfCertificate } from '../../x509/pin.ts';
import './reflect-metadata.ts';
import type * as X509 from '@peculiar/x509';

// Imported dynamically, since Bun would otherwise load it before the file above, which it needs.
const x509 = await import('@peculiar/x509');

/** A certificate with its key. */
export type Credential = {
  /** PEM. */
  readonly cert: string;
  /** PKCS#8 PEM, not encrypted. */
  readonly key: string;
  /** What a server or client presents: the certificate, then its issuers except the root. '' for a root. */
  readonly chain: string;
  /** `sha256:` and the base64 of the SHA-256 of the SubjectPublicKeyInfo. */
  readonly pin: string;
  /** Upper-case hex, like Node's `X509Certificate.serialNumber`. */
  readonly serial: string;
};

/** The signer: a CA's certificate and key, and the chain that its certificates present after themselves. */
export type Issuer = Pick<Credential, 'cert' | 'key' | 'chain'>;

/** `none` writes no extended key usage; `code_signing` suits neither side of TLS. */
export type Usage = 'server' | 'client' | 'both' | 'none' | 'code_signing';

type KeyOptions = {
  /** `ec` is P-256. */
  readonly keyType?: 'ec' | 'rsa';
  /** Modulus of RSA keys. Default: 2048. */
  readonly rsaBits?: number;
};

type Validity = {
  /** Default: five minutes ago, for clocks that differ. */
  readonly notBefore?: Date;
  readonly notAfter?: Date;
};

type Subject = {
  readonly cn?: string;
  readonly ou?: string | readonly string[];
  readonly o?: string;
};

export type CaOptions = KeyOptions & Validity & Subject & { readonly parent?: Issuer };

export type LeafOptions = KeyOptions &
  Validity &
  Subject & {
    readonly dns?: readonly string[];
    readonly uri?: readonly string[];
    readonly email?: readonly string[];
    readonly ip?: readonly string[];
    /** Default: `both`. */
    readonly usage?: Usage;
  };

/** A revoked certificate: its serial in hex, and the date of revocation. */
export type Revocation = { readonly serial: string; readonly date: Date };

type CrlOptions = {
  /** Serials in hex, optionally with dates; the default date is `thisUpdate`. */
  readonly revoked: readonly (string | Revocation)[];
  /** Default: five minutes ago. */
  readonly thisUpdate?: Date;
  /** Default: in 30 days. */
  readonly nextUpdate?: Date;
};

/** A CA: a root, or with `parent` an intermediate. Valid for ten years unless `notAfter` says otherwise. */
export async function createCa(options: CaOptions = {}): Promise<Credential> {
  const keys = await generateKeys(options);
  const usages = x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign;
  return certify(keys, options.parent, {
    subject: { cn: 'penstock CA', ...options },
    validity: validity(options, 3650),
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true), keyUsage(usages)],
  });
}

/** A leaf certificate and its key, signed by the CA. Valid for a year unless `notAfter` says otherwise. */
export async function issue(ca: Issuer, options: LeafOptions = {}): Promise<Credential> {
  return leaf(ca, options);
}

/** A self-signed leaf, to be trusted by its pin. */
export async function selfSigned(options: LeafOptions = {}): Promise<Credential> {
  return leaf(undefined, options);
}

/** A revocation list in PEM, signed by the CA. */
export async function createCrl(ca: Pick<Issuer, 'cert' | 'key'>, options: CrlOptions): Promise<string> {
  const issuer = new x509.X509Certificate(ca.cert);
  const signingKey = await importKey(ca.key);
  const thisUpdate = options.thisUpdate ?? fiveMinutesAgo();
  const crl = await x509.X509CrlGenerator.create({
    issuer: issuer.subjectName,
    thisUpdate,
    nextUpdate: options.nextUpdate ?? daysFromNow(30),
    entries: options.revoked.map((entry) => ({
      serialNumber: typeof entry === 'string' ? entry : entry.serial,
      revocationDate: typeof entry === 'string' ? thisUpdate : entry.date,
      // There must be an extension: otherwise the library would write an empty list, which RFC 5280 §5.1
      // forbids.
      reason: x509.X509CrlReason.cessationOfOperation,
    })),
    extensions: [await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey), crlNumber()],
    signingAlgorithm: { name: signingKey.algorithm.name, hash: 'SHA-256' },
    signingKey,
  });
  return pem('X509 CRL', crl.rawData);
}

/** The certificates that a revocation list in PEM revokes. */
export function revocationsIn(crlPem: string): Revocation[] {
  return new x509.X509Crl(crlPem).entries.map(({ serialNumber, revocationDate }) => ({
    serial: serialNumber.toUpperCase(),
    date: revocationDate,
  }));
}

/** The pin of a certificate in PEM, as `pins` in the configuration takes it. */
export function pinOf(certPem: string): string {
  return pinOfCertificate(new X509Certificate(certPem));
}

async function leaf(ca: Issuer | undefined, options: LeafOptions): Promise<Credential> {
  const keys = await generateKeys(options);
  const { digitalSignature, keyEncipherment } = x509.KeyUsageFlags;
  const extensions: X509.Extension[] = [
    new x509.BasicConstraintsExtension(false, undefined, true),
    keyUsage(options.keyType === 'rsa' ? digitalSignature | keyEncipherment : digitalSignature),
  ];
  const purposes = purposesOf[options.usage ?? 'both'];
  if (purposes.length > 0) extensions.push(new x509.ExtendedKeyUsageExtension(purposes));
  const names = generalNames(options);
  // Without a subject only the names identify it, and then the extension is critical (RFC 5280 §4.2.1.6).
  const critical = nameOf(options).length === 0;
  if (names.length > 0) extensions.push(new x509.SubjectAlternativeNameExtension(names, critical));
  return certify(keys, ca, { subject: options, validity: validity(options, 365), extensions });
}

const purposesOf: Record<Usage, string[]> = {
  server: [x509.ExtendedKeyUsage.serverAuth],
  client: [x509.ExtendedKeyUsage.clientAuth],
  both: [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth],
  none: [],
  code_signing: [x509.ExtendedKeyUsage.codeSigning],
};

function generalNames({ dns = [], uri = [], email = [], ip = [] }: LeafOptions): X509.JsonGeneralNames {
  const wrong = ip.find((address) => isIP(address) === 0);
  if (wrong !== undefined) throw new RangeError(`"${wrong}" is not an IP address`);
  return [
    ...dns.map((value) => ({ type: 'dns' as const, value })),
    ...uri.map((value) => ({ type: 'url' as const, value })),
    ...email.map((value) => ({ type: 'email' as const, value })),
    ...ip.map((value) => ({ type: 'ip' as const, value })),
  ];
}

/** Signs with the issuer's key, or with the certificate's own if there is no issuer. */
async function certify(
  keys: webcrypto.CryptoKeyPair,
  ca: Issuer | undefined,
  parts: { subject: Subject; validity: Required<Validity>; extensions: X509.Extension[] },
): Promise<Credential> {
  const issuer = ca && new x509.X509Certificate(ca.cert);
  const subject = new x509.Name(nameOf(parts.subject));
  const serial = randomSerial();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial,
    subject,
    issuer: issuer?.subjectName ?? subject,
    ...parts.validity,
    publicKey: keys.publicKey,
    signingKey: ca ? await importKey(ca.key) : keys.privateKey,
    extensions: [
      ...parts.extensions,
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer?.publicKey ?? keys.publicKey),
    ],
  });
  const cert = pem('CERTIFICATE', certificate.rawData);
  const isRoot = ca === undefined && certificate.getExtension(x509.BasicConstraintsExtension)?.ca === true;
  return {
    cert,
    key: await exportKey(keys.privateKey),
    chain: isRoot ? '' : cert + (ca?.chain ?? ''),
    pin: pinOf(cert),
    serial,
  };
}

// Uses `utf8String`: in plain strings the library treats quotes and `#` as syntax, and would drop parts of
// the name.
function nameOf({ o, ou = [], cn }: Subject): { [attribute: string]: { utf8String: string }[] }[] {
  const units = typeof ou === 'string' ? [ou] : ou;
  return [
    ...(o === undefined ? [] : [{ O: [{ utf8String: o }] }]),
    ...units.map((unit) => ({ OU: [{ utf8String: unit }] })),
    ...(cn === undefined ? [] : [{ CN: [{ utf8String: cn }] }]),
  ];
}

function keyUsage(usages: X509.KeyUsageFlags): X509.Extension {
  return new x509.KeyUsagesExtension(usages, true);
}

/** The CRL number (RFC 5280 §5.2.3) must increase, so it is the time in milliseconds, in six bytes. */
function crlNumber(): X509.Extension {
  const digits = Date.now().toString(16).padStart(12, '0');
  return new x509.Extension('2.5.29.20', false, Buffer.from(`0206${digits}`, 'hex'));
}

/** 128 bits, positive and of fixed length: the highest bit is clear, the next is set. */
function randomSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes.toString('hex').toUpperCase();
}

function validity({ notBefore = fiveMinutesAgo(), notAfter }: Validity, days: number): Required<Validity> {
  return { notBefore, notAfter: notAfter ?? daysFromNow(days) };
}

function fiveMinutesAgo(): Date {
  return new Date(Date.now() - 5 * 60_000);
}

function daysFromNow(days: number): Date {
  return new Date(Date.now() + days * 86_400_000);
}

const ec = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const rsa = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };

async function generateKeys({ keyType, rsaBits = 2048 }: KeyOptions): Promise<webcrypto.CryptoKeyPair> {
  if (keyType !== 'rsa') return webcrypto.subtle.generateKey(ec, true, ['sign', 'verify']);
  const algorithm = { ...rsa, modulusLength: rsaBits, publicExponent: Uint8Array.of(1, 0, 1) };
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

async function importKey(keyPem: string): Promise<webcrypto.CryptoKey> {
  const key = createPrivateKey(keyPem);
  const der = key.export({ type: 'pkcs8', format: 'der' });
  return webcrypto.subtle.importKey('pkcs8', der, key.asymmetricKeyType === 'rsa' ? rsa : ec, false, [
    'sign',
  ]);
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key));
  return createPrivateKey({ key: der, type: 'pkcs8', format: 'der' })
    .export({ type: 'pkcs8', format: 'pem' })
    .toString();
}

// The library labels lists `CRL`, which OpenSSL does not accept (RFC 7468 §6: `X509 CRL`).
function pem(label: string, der: ArrayBuffer): string {
  const lines = Buffer.from(der)
    .toString('base64')
    .replace(/.{64}(?=.)/g, '$&\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}
