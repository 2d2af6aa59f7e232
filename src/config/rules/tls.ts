/** Versions, ciphers and groups, which only OpenSSL can judge. */
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { cipherOptions, versionsOf } from '../../openssl/ciphers.ts';
import type { Path, Report } from '../finding.ts';
import type { Config, TerminateConfig, UpstreamTlsConfig } from '../schema/schema.ts';

/** Reports versions in the wrong order, and names that OpenSSL does not know. */
export function checkTlsParameters(
  tls: Pick<
    TerminateConfig | UpstreamTlsConfig,
    'min_version' | 'max_version' | 'ciphers' | 'groups' | 'alpn'
  >,
  path: Path,
  report: Report,
): void {
  if (tls.min_version > tls.max_version) {
    const [min, max] = [tls.min_version.slice(4), tls.max_version.slice(4)];
    report.fault([...path, 'min_version'], `\`min_version\` ${min} is above \`max_version\` ${max}`);
  } else if (tls.ciphers) checkVersionsOf(tls.ciphers, tls, [...path, 'ciphers'], report);
  if (tls.ciphers) checkCiphers(tls.ciphers, [...path, 'ciphers'], report);
  tls.groups?.forEach((group, index) => {
    if (!isKnown('group', group))
      report.fault([...path, 'groups', index], `OpenSSL knows no group "${group}"`);
  });
  tls.alpn?.forEach((name, index) => {
    // The length is one byte (RFC 7301 §3.1).
    if (Buffer.byteLength(name) > 255) report.fault([...path, 'alpn', index], 'expected at most 255 bytes');
  });
}

/** TLS 1.2 takes keys of clients only on curves that are in `groups` (RFC 8422 §5.1). */
export function checkClientCurves(
  { groups, min_version, max_version, ciphers, client_auth }: TerminateConfig,
  path: Path,
  report: Report,
): void {
  if (groups === undefined || client_auth === undefined || client_auth.mode === 'none') return;
  if (min_version === 'TLSv1.3' || (ciphers && versionsOf(ciphers) === '1.3')) return;
  const named = groups
    .join(':')
    .split(':')
    .map((name) => name.replace(/^[?*-]+/, ''));
  const isMissing = ([name, ...aliases]: readonly string[]) =>
    ![name, ...aliases].some((one) => one !== undefined && named.includes(one));
  const missing = curves.filter(isMissing).map(([name]) => name);
  // Keys on the third are rare.
  if (missing.every((name) => name === 'P-521') || named.includes('DEFAULT')) return;
  const which = max_version === 'TLSv1.2' ? 'clients' : 'TLS 1.2 clients';
  report.warn(
    [...path, 'groups'],
    `${which} whose keys are on ${missing.join(', ')} are refused: under TLS 1.2 \`groups\` counts for their certificates, too`,
    'add them, or write `min_version: "1.3"`',
  );
}

const curves = [
  ['P-256', 'prime256v1', 'secp256r1'],
  ['P-384', 'secp384r1'],
  ['P-521', 'secp521r1'],
] as const;

function checkCiphers(ciphers: readonly string[], path: Path, report: Report): void {
  ciphers.forEach((cipher, index) => {
    const place = [...path, index];
    if (!isKnown('cipher', cipher)) report.fault(place, `OpenSSL knows no cipher "${cipher}"`);
    else if (isWeak(cipher)) {
      report.warn(place, `"${cipher}" lets in what is broken`, 'leave it out, or `ciphers` altogether');
    }
  });
  // Such as operators alone, or one that takes away all the others.
  if (ciphers.every((cipher) => isKnown('cipher', cipher)) && !isKnown('list', ciphers.join(':'))) {
    report.fault(path, 'OpenSSL finds no cipher in this list', 'leave it out for the default');
  }
}

/** A list that has no cipher of any version that is allowed would make every handshake fail. */
function checkVersionsOf(
  ciphers: readonly string[],
  { min_version: min, max_version: max }: Pick<TerminateConfig, 'min_version' | 'max_version'>,
  path: Path,
  report: Report,
): void {
  const versions = versionsOf(ciphers);
  if (versions === '1.3' && max === 'TLSv1.2') {
    report.fault(path, 'these are for TLS 1.3 alone, and `max_version` is 1.2', 'name some for TLS 1.2 too');
  }
  if (versions === 'older' && min === 'TLSv1.3') {
    report.fault(
      path,
      'none of these is for TLS 1.3, and `min_version` is 1.3',
      'name some that begin with TLS_',
    );
  }
}

/** Nobody turns that on without being told, at every start. */
export function warnOfKeyLog({ log }: Pick<Config, 'log'>, report: Report): void {
  if (log.tls_keys === undefined) return;
  const message = `DANGEROUS: whoever reads ${log.tls_keys} can read every TLS connection, and what was recorded of it`;
  report.warn(['log', 'tls_keys'], message, 'remove it when you have found what you are looking for');
}

/** By name: without encryption or authentication, for export, RC4, DES, MD5; or a security level that admits them. */
function isWeak(cipher: string): boolean {
  return cipher.split(/:|(?=@)/).some((part) => {
    if (part.startsWith('@')) return /^@SECLEVEL=[01]$/.test(part);
    return !/^[!-]/.test(part) && /NULL|ADH|AECDH|EXP|RC4|DES|MD5|^(ALL|LOW|COMPLEMENTOF\w+)\b/.test(part);
  });
}

/** Each name alone: in a list OpenSSL quietly drops the ciphers it does not know. Thousands of routes share a few. */
function isKnown(kind: 'cipher' | 'list' | 'group', name: string): boolean {
  // Operators of OpenSSL's cipher strings, which mean nothing alone (`!aNULL`, `@SECLEVEL=1`).
  if (kind === 'cipher' && /^[!+\-@]/.test(name)) return true;
  const key = `${kind} ${name}`;
  let known = verdicts.get(key);
  if (known === undefined) {
    known = accepts(optionsFor[kind](name));
    verdicts.set(key, known);
  }
  return known;
}

const optionsFor = {
  cipher: (ciphers: string) => ({ ciphers }),
  list: (ciphers: string) => cipherOptions([ciphers]),
  group: (ecdhCurve: string) => ({ ecdhCurve }),
};

const verdicts = new Map<string, boolean>();

function accepts(options: SecureContextOptions): boolean {
  try {
    createSecureContext(options);
    return true;
  } catch {
    return false;
  }
}

/** Each side settles on a protocol by itself, and the bytes of one go to the other as they are. */
export function checkProtocols(
  ours: readonly string[],
  upstream: { readonly name: string; readonly alpn: readonly string[] },
  path: Path,
  report: Report,
): void {
  for (const one of ours) {
    const other = upstream.alpn.find((protocol) => protocol !== one);
    if (other === undefined) continue;
    const message = `a client may settle on ${one} while upstream "${upstream.name}" settles on ${other}: nothing ties the two`;
    report.warn(
      path,
      message,
      'give both the same one protocol; for several, a route (`alpn`) and an upstream each',
    );
    return;
  }
}
