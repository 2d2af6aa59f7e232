/** Certificates as a server sent them: in which order, what is missing, and whom they lead to. */
import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';

/**
 * `complete`: it leads to an anchor. `self_signed`: the certificate signed itself, and is no anchor. `untrusted_root`: it
 * leads to a root that is no anchor. `incomplete`: the issuer of the last one is neither among those sent nor an anchor.
 */
export type ChainState = 'complete' | 'self_signed' | 'untrusted_root' | 'incomplete';

export type Chain = {
  readonly state: ChainState;
  /** From the leaf on: each is issued by the next. */
  readonly path: readonly X509Certificate[];
  /** The subject of the issuer that is missing, where it is `incomplete`. */
  readonly missing: string | undefined;
  /** What is not as RFC 8446 §4.4.2 would have it: `unordered`, `unrelated` ones, the `root` sent though it is needless. */
  readonly oddities: readonly ('unordered' | 'unrelated' | 'root')[];
};

/** Follows the certificates from the first one, which is the server's own. */
export function followChain(sent: readonly X509Certificate[], anchors: readonly X509Certificate[]): Chain {
  const path = pathFrom(sent);
  const last = path.at(-1);
  if (!last) return { state: 'incomplete', path, missing: undefined, oddities: [] };
  const isAnchor = anchors.some((anchor) => anchor.raw.equals(last.raw));
  const isRoot = isSelfSigned(last);
  const anchored = isAnchor || anchors.some((anchor) => isIssuedBy(last, anchor));
  const state = anchored
    ? 'complete'
    : !isRoot
      ? 'incomplete'
      : path.length === 1
        ? 'self_signed'
        : 'untrusted_root';
  return {
    state,
    path,
    missing: state === 'incomplete' ? last.issuer : undefined,
    oddities: odditiesOf(sent, path, isRoot),
  };
}

function pathFrom(sent: readonly X509Certificate[]): X509Certificate[] {
  const [leaf] = sent;
  if (!leaf) return [];
  const path = [leaf];
  for (let last = leaf; !isSelfSigned(last); ) {
    const issuer = sent.find((one) => !path.includes(one) && isIssuedBy(last, one));
    if (!issuer) break;
    path.push(issuer);
    last = issuer;
  }
  return path;
}

function odditiesOf(
  sent: readonly X509Certificate[],
  path: readonly X509Certificate[],
  endsInRoot: boolean,
): Chain['oddities'] {
  const places = path.map((one) => sent.indexOf(one));
  const isOrdered = places.every((place, index) => index === 0 || place > (places[index - 1] ?? 0));
  return [
    ...(isOrdered ? [] : (['unordered'] as const)),
    ...(path.length < sent.length ? (['unrelated'] as const) : []),
    ...(endsInRoot && path.length > 1 ? (['root'] as const) : []),
  ];
}

/**
 * OpenSSL's word for what is wrong, for a chain that OpenSSL was not asked about because the server broke off; undefined if
 * nothing is. Dates, signatures and who may sign; neither purposes nor name constraints.
 */
export function judgeChain({ state, path }: Chain): string | undefined {
  if (path.length === 0) return 'NO_CERTIFICATE';
  const now = Date.now();
  if (path.some(({ validTo }) => Date.parse(validTo) < now)) return 'CERT_HAS_EXPIRED';
  if (path.some(({ validFrom }) => Date.parse(validFrom) > now)) return 'CERT_NOT_YET_VALID';
  switch (state) {
    case 'complete':
      return path.slice(1).every(({ ca }) => ca) ? undefined : 'INVALID_CA';
    case 'self_signed':
      return 'DEPTH_ZERO_SELF_SIGNED_CERT';
    case 'untrusted_root':
      return 'SELF_SIGNED_CERT_IN_CHAIN';
    case 'incomplete':
      return 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY';
  }
}

/** By the SANs alone, a wildcard for one whole label (RFC 9525 §6), as penstock judges its upstreams. */
export function isNamed(certificate: X509Certificate, name: string): boolean {
  if (isIP(name) !== 0) return certificate.checkIP(name) !== undefined;
  return certificate.checkHost(name, { subject: 'never', partialWildcards: false }) !== undefined;
}

/** Those that can be read, the server's own first; others are left out. None without its own, of which its key is needed. */
export function parseCertificates(ders: readonly Buffer[]): X509Certificate[] {
  const [own, ...others] = ders.map(parse);
  if (!own || !hasKey(own)) return [];
  return [own, ...others.filter((one) => one !== undefined)];
}

function parse(der: Buffer): X509Certificate | undefined {
  try {
    const certificate = new X509Certificate(der);
    // OpenSSL takes any text for a date, and says only when asked that it is none.
    const dates = [certificate.validFrom, certificate.validTo].map(Date.parse);
    return dates.some(Number.isNaN) ? undefined : certificate;
  } catch {
    return undefined;
  }
}

/** OpenSSL looks at the key only when asked. */
function hasKey(certificate: X509Certificate): boolean {
  try {
    return certificate.publicKey.type === 'public';
  } catch {
    return false;
  }
}

/** By its signature alone: one that is meant for itself need not say that it may sign others. */
function isSelfSigned(certificate: X509Certificate): boolean {
  return certificate.subject === certificate.issuer && isSignedBy(certificate, certificate);
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && isSignedBy(certificate, issuer);
}

function isSignedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.verify(issuer.publicKey);
  } catch {
    // A key of a kind that OpenSSL does not know has signed nothing that it would accept.
    return false;
  }
}
