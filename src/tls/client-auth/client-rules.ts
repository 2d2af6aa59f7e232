/**
 * The `allow` rules of client authentication. Patterns are compiled once; matching
 * takes time linear in the names.
 */
import type { ClientRule } from '../../config/schema/schema.ts';
import type { CertificateNames } from '../../x509/certificate-names.ts';

/** Whether a certificate, given its verified names and the `sha256:…` of its key, satisfies any rule. */
export type RuleMatcher = (names: CertificateNames, spki: string) => boolean;

/**
 * Compiles `allow`. One entry must match, with all its parts. `dns`: `*` is one whole label, and case does
 * not matter. `uri`: see compileUri. `cn`, `ou`, `email`: whole values, case-sensitive; of several CNs only
 * the most specific counts, of several OUs any.
 */
export function compileRules(rules: readonly ClientRule[]): RuleMatcher {
  const matchers = rules.map(compileRule);
  return (names, spki) => matchers.some((matches) => matches(names, spki));
}

function compileRule({ uri, dns, email, cn, ou, spki }: ClientRule): RuleMatcher {
  const matchesUri = uri === undefined ? undefined : compileUri(uri);
  const matchesDns = dns === undefined ? undefined : compileDns(dns);
  return (names, key) =>
    (matchesUri === undefined ||
      names.uris.some((name) => isOnlySpiffeId(name, names) && matchesUri(name))) &&
    (matchesDns === undefined || names.dns.some(matchesDns)) &&
    (email === undefined || names.emails.includes(email)) &&
    (cn === undefined || names.cn.at(-1) === cn) &&
    (ou === undefined || names.ou.includes(ou)) &&
    (spki === undefined || spki === key);
}

/** An X.509-SVID has exactly one URI SAN; with several it has no identity (SPIFFE X509-SVID §2). */
function isOnlySpiffeId(uri: string, { uris }: CertificateNames): boolean {
  return uris.length === 1 || !uri.toLowerCase().startsWith('spiffe:');
}

function compileDns(pattern: string): (name: string) => boolean {
  const labels = pattern.toLowerCase().split('.');
  return (name) => {
    const given = name.toLowerCase().split('.');
    return (
      given.length === labels.length &&
      labels.every((label, index) => (label === '*' ? given[index] !== '' : label === given[index]))
    );
  };
}

/**
 * Compares a URI exactly as written, segment by segment. `*` stands for any run of characters within
 * one segment of the path (a segment that is only `*` must not be empty), or within the host. `/**` at
 * the end of a path stands for one or more segments below it. A wildcard never matches a query, a
 * fragment, a `.` or `..` segment or an encoded slash, because software that normalizes such a URI
 * later would see a different one.
 */
function compileUri(pattern: string): (uri: string) => boolean {
  if (!pattern.includes('*')) return (uri) => uri === pattern;
  const segments = pattern.split('/');
  // scheme: "" host path…, or no "//" as in urn:example:*
  const pathAt = /^[^/]+:\/\//.test(pattern) ? 3 : 0;
  const below = segments.at(-1) === '**' && segments.length > Math.max(pathAt, 1);
  if (below) segments.pop();
  const globs = segments.map((segment) => segment.split('*'));
  return (uri) => {
    const given = uri.split('/');
    if (below ? given.length <= globs.length : given.length !== globs.length) return false;
    return given.every((segment, index) => {
      const pieces = globs[index];
      if (pieces === undefined) return isPlainSegment(segment);
      if (pieces.length === 1) return segment === pieces[0];
      const isHost = index < pathAt;
      if (isHost && (index !== 2 || /[:@]/.test(segment))) return false;
      return isPlainSegment(segment) && matchesGlob(segment, pieces);
    });
  };
}

function isPlainSegment(segment: string): boolean {
  return segment !== '' && !/[?#\\]|%2f|%5c|^(?:\.|%2e){1,2}$/i.test(segment);
}

/**
 * `pieces` are the literal parts between the stars, in order. Taking each as early as
 * possible needs no backtracking.
 */
function matchesGlob(text: string, pieces: readonly string[]): boolean {
  const [first = '', ...rest] = pieces;
  const last = rest.pop() ?? '';
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last))
    return false;
  const end = text.length - last.length;
  let at = first.length;
  for (const piece of rest) {
    const found = text.indexOf(piece, at);
    if (found === -1 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}
