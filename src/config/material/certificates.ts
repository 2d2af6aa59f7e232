/** Reads, parses and matches the certificates and keys that a configuration names. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { Path, Report } from '../finding.ts';
import { type Files, pemBlocks, pemText } from '../read/files.ts';
import type { Config } from '../schema/schema.ts';
import { datesHoldUntil, describeDates, nameOf, reasonOf, warnOfDates } from './describe.ts';
import { foreignFormat } from './foreign-formats.ts';
import type { Material, MaterialMemory } from './memory.ts';
import { readStaple, type Staple } from './ocsp.ts';
import { askOpenSsl } from './strength.ts';

/** A certificate and its key in the form that `tls` takes. */
export type LoadedPair = {
  /** PEM: the leaf, then its chain. */
  readonly cert: string;
  /** PEM, unchanged from the file; `passphrase` is set if it is encrypted. Empty if secrets were not read. */
  readonly key: string;
  readonly passphrase: string | undefined;
  readonly leaf: X509Certificate;
  /** `ec`, `rsa`, `ed25519`, … */
  readonly keyType: string;
  /** For clients that ask for it; used only while it is in date. */
  readonly staple: Staple | undefined;
};

export type LoadedCertificate = { readonly name: string; readonly pairs: readonly LoadedPair[] };

export type PairConfig = Config['certificates'][string]['pairs'][number];

/** Reads all of them, used or not. Reports and leaves out those with faults. */
export async function loadCertificates(
  config: Pick<Config, 'certificates'>,
  files: Files,
  report: Report,
  memory?: MaterialMemory,
): Promise<Map<string, LoadedCertificate>> {
  const loaded = new Map<string, LoadedCertificate>();
  const rest = Object.entries(config.certificates).entries();
  const found: LoadedCertificate[] = [];
  async function loadSome(): Promise<void> {
    for (const [index, [name, { pairs }]] of rest) {
      const load = (to: Report) => loadCertificate(name, pairs, files, to);
      found[index] = memory
        ? await memory.load(certificateMaterial(name, pairs), files, report, load)
        : await load(report);
    }
  }
  // Files are read by several threads.
  await Promise.all(Array.from({ length: 16 }, loadSome));
  for (const certificate of found) loaded.set(certificate.name, certificate);
  return loaded;
}

export function certificateMaterial(name: string, pairs: readonly PairConfig[]): Material {
  const named = pairs.flatMap(({ cert, key, key_passphrase_file, ocsp }) =>
    [cert, key, key_passphrase_file, ocsp].filter((file) => file !== undefined),
  );
  return { name: `certificates.${name}`, settings: pairs, named };
}

async function loadCertificate(
  name: string,
  pairs: readonly PairConfig[],
  files: Files,
  report: Report,
): Promise<LoadedCertificate> {
  const path = ['certificates', name, 'pairs'];
  const found: LoadedPair[] = [];
  for (const [index, pair] of pairs.entries()) {
    const place = [...path, index];
    const one = await loadPair(pair, place, files, report);
    if (one === undefined) continue;
    if (found.some(({ keyType }) => keyType === one.keyType)) {
      const message = `another pair has a key of type ${one.keyType} too`;
      report.fault([...place, 'cert'], message, 'give one pair for each type, such as ECDSA and RSA');
    }
    found.push(one);
  }
  return { name, pairs: found };
}

async function loadPair(
  pair: PairConfig,
  path: Path,
  files: Files,
  report: Report,
): Promise<LoadedPair | undefined> {
  const cert = await files.read(pair.cert, [...path, 'cert'], report);
  if (files.withoutSecrets) return cert && loadPublicPart(cert, pair, path, report);
  const pem = await files.read(pair.key, [...path, 'key'], report);
  const passphrase = await readPassphrase(pair, path, files, report);
  const ocsp = pair.ocsp === undefined ? undefined : await files.read(pair.ocsp, [...path, 'ocsp'], report);
  const chain = cert && parseChain(cert, pair.cert, [...path, 'cert'], report);
  const key = pem && parseKey(pem, pair, passphrase, path, report);
  if (key && (await files.isReadableByOthers(pair.key))) {
    report.warn(
      [...path, 'key'],
      `${pair.key} can be read by every user of this machine`,
      `chmod o-r ${pair.key}`,
    );
  }
  const leaf = chain?.[0];
  if (!chain || !leaf || !key || !pem) return undefined;
  if (!fits(chain, key, pair, path, report)) return undefined;
  warnOfDates(chain, [...path, 'cert'], report);
  const loaded = {
    cert: chain.map(String).join(''),
    key: pemText(pem),
    passphrase,
    // That of the certificate, since they fit.
    keyType: key.asymmetricKeyType ?? 'unknown',
    staple: ocsp && checkStaple(ocsp, leaf, [...path, 'ocsp'], report),
  };
  return openSslTakes(loaded, chain, [...path, 'cert'], report) ? withLeaf(loaded) : undefined;
}

/** For checks on a machine that does not have the keys. */
function loadPublicPart(
  content: Buffer,
  { cert: file }: PairConfig,
  path: Path,
  report: Report,
): LoadedPair | undefined {
  const place = [...path, 'cert'];
  const chain = parseChain(content, file, place, report);
  const leaf = chain?.[0];
  if (!chain || !leaf) return undefined;
  warnOfBreak(chain, path, report);
  warnOfDates(chain, place, report);
  const keyType = leaf.publicKey.asymmetricKeyType ?? 'unknown';
  const cert = chain.map(String).join('');
  return withLeaf({ cert, key: '', passphrase: undefined, keyType, staple: undefined });
}

/**
 * Parses the certificate when it is first needed: most processes need few of ten thousand, each of which
 * takes 20 KB.
 */
export function withLeaf(pair: Omit<LoadedPair, 'leaf'>): LoadedPair {
  return new Pair(pair);
}

class Pair implements LoadedPair {
  readonly cert: string;
  readonly key: string;
  readonly passphrase: string | undefined;
  readonly keyType: string;
  readonly staple: Staple | undefined;
  #leaf: X509Certificate | undefined;

  constructor({ cert, key, passphrase, keyType, staple }: Omit<LoadedPair, 'leaf'>) {
    this.cert = cert;
    this.key = key;
    this.passphrase = passphrase;
    this.keyType = keyType;
    this.staple = staple;
  }

  get leaf(): X509Certificate {
    this.#leaf ??= new X509Certificate(this.cert);
    return this.#leaf;
  }
}

/** Only warns, since clients are served without a staple too. */
function checkStaple(content: Buffer, leaf: X509Certificate, path: Path, report: Report): Staple | undefined {
  const staple = readStaple(content, leaf);
  const [from, to] =
    typeof staple === 'string' ? [] : [new Date(staple.thisUpdate), new Date(staple.nextUpdate)];
  if (from && to) report.holdsUntil?.(datesHoldUntil(from, to, 0));
  const trouble = typeof staple === 'string' ? staple : from && to && describeDates(from, to, 0);
  if (trouble) report.warn(path, `the OCSP response ${trouble}, so it is not stapled`);
  return typeof staple === 'string' ? undefined : staple;
}

async function readPassphrase(
  { key_passphrase_file: file }: PairConfig,
  path: Path,
  files: Files,
  report: Report,
): Promise<string | undefined> {
  if (file === undefined) return undefined;
  const content = await files.read(file, [...path, 'key_passphrase_file'], report);
  return content
    ?.toString('utf8')
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)[0];
}

function isKey(text: string): boolean {
  return /-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text);
}

function parseChain(
  content: Buffer,
  file: string,
  path: Path,
  report: Report,
): X509Certificate[] | undefined {
  const text = pemText(content);
  const blocks = pemBlocks(text, 'CERTIFICATE');
  if (blocks.length === 0) {
    const other = foreignFormat(content, file, 'certificate');
    const hint = isKey(text)
      ? 'it holds a private key: are `cert` and `key` swapped?'
      : 'PEM begins with -----BEGIN CERTIFICATE-----';
    report.fault(
      path,
      `${file} holds no PEM certificate${other ? `: it is ${other.what}` : ''}`,
      other?.hint ?? hint,
    );
    return undefined;
  }
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch (error) {
    report.fault(path, `${file} cannot be parsed as a certificate (${reasonOf(error)})`);
    return undefined;
  }
}

function parseKey(
  content: Buffer,
  pair: PairConfig,
  passphrase: string | undefined,
  path: Path,
  report: Report,
): KeyObject | undefined {
  const place = [...path, 'key'];
  const text = pemText(content);
  if (!isKey(text)) {
    const other = foreignFormat(content, pair.key, 'key');
    const hint =
      pemBlocks(text, 'CERTIFICATE').length > 0
        ? 'it holds a certificate: are `cert` and `key` swapped?'
        : 'PEM begins with -----BEGIN PRIVATE KEY-----';
    const what = other ? `: it is ${other.what}` : '';
    report.fault(place, `${pair.key} holds no PEM private key${what}`, other?.hint ?? hint);
    return undefined;
  }
  const isEncrypted = /BEGIN ENCRYPTED PRIVATE KEY|Proc-Type: 4,ENCRYPTED/.test(text);
  if (isEncrypted && passphrase === undefined) {
    if (pair.key_passphrase_file === undefined) {
      report.fault(
        place,
        `${pair.key} is encrypted`,
        'name the file with its passphrase in `key_passphrase_file`',
      );
    }
    return undefined;
  }
  try {
    return createPrivateKey({ key: text, ...(passphrase !== undefined && { passphrase }) });
  } catch (error) {
    if (isEncrypted)
      report.fault([...path, 'key_passphrase_file'], `the passphrase does not open ${pair.key}`);
    else report.fault(place, `${pair.key} cannot be parsed as a key (${reasonOf(error)})`);
    return undefined;
  }
}

function fits(
  chain: X509Certificate[],
  key: KeyObject,
  pair: PairConfig,
  path: Path,
  report: Report,
): boolean {
  const [leaf, ...rest] = chain;
  if (!leaf?.checkPrivateKey(key)) {
    const hint = rest.some((certificate) => certificate.checkPrivateKey(key))
      ? 'put the certificate that it belongs to first, then its issuers'
      : undefined;
    report.fault([...path, 'key'], `${pair.key} is not the key of the certificate in ${pair.cert}`, hint);
    return false;
  }
  warnOfBreak(chain, path, report);
  return true;
}

function warnOfBreak(chain: readonly X509Certificate[], path: Path, report: Report): void {
  const [, ...rest] = chain;
  const stray = rest.find((certificate, index) => !chain[index]?.checkIssued(certificate));
  if (stray === undefined) return;
  const message = `the chain is broken: ${nameOf(stray)} did not issue the certificate before it`;
  report.warn([...path, 'cert'], message, 'each certificate is followed by its issuer');
}

function openSslTakes(
  pair: Omit<LoadedPair, 'leaf'>,
  chain: readonly X509Certificate[],
  path: Path,
  report: Report,
): boolean {
  try {
    askOpenSsl(pair, chain);
    return true;
  } catch (error) {
    report.fault(path, `OpenSSL refuses it: ${reasonOf(error)}`);
    return false;
  }
}
