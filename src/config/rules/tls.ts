/** Checks versions, ciphers and groups, of which only OpenSSL knows which are valid. */
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

/** TLS 1.2 accepts client keys only on curves in `groups` (RFC 8422 §5.1). */
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
  // P-521 keys are rare.
  if (missing.every((name) => name === 'P-521') || named.includes('DEFAULT')) return;
  const which = max_version === 'TLSv1.2' ? 'clients' : 'TLS 1.2 clients';
  report.warn(
    [...path, 'groups'],
    `${which} whose keys are on ${missing.join(', ')} are refused: under TLS 1.2, \`groups\` applies to their certificates too`,
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
      report.warn(place, `"${cipher}" allows broken cryptography`, 'leave it out, or `ciphers` altogether');
    }
  });
  // Such as only operators, or one that removes all other entries.
  if (ciphers.every((cipher) => isKnown('cipher', cipher)) && !isKnown('list', ciphers.join(':'))) {
    report.fault(path, 'OpenSSL finds no cipher in this list', 'leave it out for the default');
  }
}

/** If a list has no cipher for any allowed version, every handshake fails. */
function checkVersionsOf(
  ciphers: readonly string[],
  { min_version: min, max_version: max }: Pick<TerminateConfig, 'min_version' | 'max_version'>,
  path: Path,
  report: Report,
): void {
  const versions = versionsOf(ciphers);
  if (versions === '1.3' && max === 'TLSv1.2') {
    report.fault(path, 'these are only for TLS 1.3, and `max_version` is 1.2', 'name some for TLS 1.2 too');
  }
  if (versions === 'older' && min === 'TLSv1.3') {
    report.fault(
      path,
      'none of these is for TLS 1.3, and `min_version` is 1.3',
      'name some that begin with TLS_',
    );
  }
}

/** Warned about at every start, so that no one leaves it on unknowingly. */
export function warnOfKeyLog({ log }: Pick<Config, 'log'>, report: Report): void {
  if (log.tls_keys === undefined) return;
  const message = `DANGEROUS: whoever reads ${log.tls_keys} can decrypt every TLS connection, including recorded ones`;
  report.warn(['log', 'tls_keys'], message, 'remove it when you have found what you are looking for');
}

/**
 * Judged by name: without encryption or authentication, for export, RC4, DES, MD5; or a security level that
 * allows them.
 */
function isWeak(cipher: string): boolean {
  return cipher.split(/:|(?=@)/).some((part) => {
    if (part.startsWith('@')) return /^@SECLEVEL=[01]$/.test(part);
    return !/^[!-]/.test(part) && /NULL|ADH|AECDH|EXP|RC4|DES|MD5|^(ALL|LOW|COMPLEMENTOF\w+)\b/.test(part);
  });
}

/**
 * Checks one name at a time, since OpenSSL silently drops unknown ciphers from a list. Cached, since
 * thousands of routes share a few.
 */
function isKnown(kind: 'cipher' | 'list' | 'group', name: string): boolean {
  // Operators of OpenSSL's cipher strings (`!aNULL`, `@SECLEVEL=1`) cannot be checked alone.
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

/** Each side negotiates a protocol separately, but bytes are copied between them unchanged. */
export function checkProtocols(
  ours: readonly string[],
  upstream: { readonly name: string; readonly alpn: readonly string[] },
  path: Path,
  report: Report,
): void {
  for (const one of ours) {
    const other = upstream.alpn.find((protocol) => protocol !== one);
    if (other === undefined) continue;
    const message = `a client may negotiate ${one} while upstream "${upstream.name}" negotiates ${other}, independently of each other`;
    report.warn(
      path,
      message,
      'give both the same single protocol; for several, use a route (`alpn`) and an upstream for each',
    );
    return;
  }
}
