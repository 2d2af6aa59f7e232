/** Analyses the certificates a server sent: their order, what is missing, and where they lead. */
import { X509Certificate } from 'node:crypto';

/**
 * `complete`: it leads to an anchor. `self_signed`: the certificate is self-signed and not an anchor.
 * `untrusted_root`: it leads to a root that is not an anchor. `incomplete`: the issuer of the last
 * certificate was neither sent nor is an anchor.
 */
export type ChainState = 'complete' | 'self_signed' | 'untrusted_root' | 'incomplete';

export type Chain = {
  readonly state: ChainState;
  /** From the leaf up, each issued by the next. */
  readonly path: readonly X509Certificate[];
  /** The subject of the missing issuer, if `incomplete`. */
  readonly missing: string | undefined;
  /** Deviations from RFC 8446 §4.4.2: `unordered`, `unrelated` certificates, an unnecessary `root`. */
  readonly oddities: readonly ('unordered' | 'unrelated' | 'root')[];
};

/** Follows the chain from the first certificate, the server's own. */
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
 * OpenSSL's name for what is wrong with a chain that OpenSSL did not see because the server aborted;
 * undefined if nothing is. Checks dates, signatures and the right to sign, but neither purposes nor name
 * constraints.
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

/**
 * The readable certificates, the server's own first. Empty if the server's own, or its key, cannot be read.
 */
export function parseCertificates(ders: readonly Buffer[]): X509Certificate[] {
  const [own, ...others] = ders.map(parse);
  if (!own || !hasKey(own)) return [];
  return [own, ...others.filter((one) => one !== undefined)];
}

function parse(der: Buffer): X509Certificate | undefined {
  try {
    const certificate = new X509Certificate(der);
    // OpenSSL accepts any text as a date, and reports an invalid one only when asked.
    const dates = [certificate.validFrom, certificate.validTo].map(Date.parse);
    return dates.some(Number.isNaN) ? undefined : certificate;
  } catch {
    return undefined;
  }
}

/** OpenSSL parses the key only when asked. */
function hasKey(certificate: X509Certificate): boolean {
  try {
    return certificate.publicKey.type === 'public';
  } catch {
    return false;
  }
}

/** Checks only the signature, since a self-signed certificate need not be allowed to sign others. */
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
    // OpenSSL accepts no signature by an unknown kind of key.
    return false;
  }
}
