/** Predicts which of a certificate's pairs a client will be shown, before OpenSSL decides. */
import type { X509Certificate } from 'node:crypto';
import type { TerminateConfig } from '../../config/schema/schema.ts';
import { versionsOf } from '../../openssl/ciphers.ts';
import { numbersOf, tls13 } from '../../openssl/registries.ts';

/** The part of a ClientHello that decides it; numbers as on the wire. */
export type KeyOffer = {
  readonly versions: readonly number[];
  readonly ciphers: readonly number[];
  readonly groups: readonly number[];
  readonly signatureAlgorithms: readonly number[];
};

/**
 * Chooses a pair that the client certainly accepts under this configuration, RSA last; undefined if that is
 * uncertain and the decision is better left to OpenSSL.
 */
export function createPairChooser<Pair extends { readonly leaf: X509Certificate }>(
  pairs: readonly Pair[],
  config: VersionConfig,
): (offer: KeyOffer) => Pair | undefined {
  const { min_version, ciphers } = config;
  const candidates = pairs
    .map((pair) => ({ pair, needs: needsOf(pair.leaf) }))
    .sort((a, b) => Number(a.needs?.suite === 'RSA') - Number(b.needs?.suite === 'RSA'));
  const taken = { ECDSA: idsOf('ECDSA', ciphers), RSA: idsOf('RSA', ciphers) };
  const takesOlder = min_version !== 'TLSv1.3' && listedFor(ciphers) !== '1.3';
  const settlesOnTls13 = createVersionForesight(config);
  return (offer) => {
    const isTls13 = settlesOnTls13(offer);
    if (!isTls13 && !takesOlder) return undefined;
    const fits = ({ needs }: (typeof candidates)[number]): boolean => {
      if (needs === undefined) return false;
      const { signatures, curve, suite } = needs;
      // RFC 8446 §4.2.3: an algorithm implies its curve, and the cipher suite says nothing about keys.
      if (isTls13) return meet(offer.signatureAlgorithms, signatures.tls13);
      return (
        meet(offer.signatureAlgorithms, signatures.tls12) &&
        (curve === undefined || offer.groups.includes(curve)) &&
        meet(offer.ciphers, taken[suite])
      );
    };
    return candidates.find(fits)?.pair;
  };
}

type VersionConfig = Pick<TerminateConfig, 'min_version' | 'max_version' | 'ciphers'>;

/**
 * Whether this client and configuration, if they agree at all, agree on TLS 1.3:
 * the highest common version wins.
 */
export function createVersionForesight({
  max_version,
  ciphers,
}: VersionConfig): (offer: Pick<KeyOffer, 'versions'>) => boolean {
  const takesTls13 = max_version === 'TLSv1.3' && listedFor(ciphers) !== 'older';
  return ({ versions }) => takesTls13 && versions.includes(tls13);
}

function listedFor(ciphers: VersionConfig['ciphers']): ReturnType<typeof versionsOf> {
  return ciphers ? versionsOf(ciphers) : 'both';
}

/** What a client must offer before it can be shown a key, as numbers of the IANA registries. */
type Needs = {
  readonly signatures: { readonly tls13: readonly number[]; readonly tls12: readonly number[] };
  readonly curve?: number;
  readonly suite: 'ECDSA' | 'RSA';
};

const ecdsa = [0x0403, 0x0503, 0x0603];
const pss = [0x0804, 0x0805, 0x0806];

const needs: Readonly<Record<string, Needs>> = {
  prime256v1: { signatures: { tls13: [0x0403], tls12: ecdsa }, curve: 23, suite: 'ECDSA' },
  secp384r1: { signatures: { tls13: [0x0503], tls12: ecdsa }, curve: 24, suite: 'ECDSA' },
  secp521r1: { signatures: { tls13: [0x0603], tls12: ecdsa }, curve: 25, suite: 'ECDSA' },
  ed25519: { signatures: { tls13: [0x0807], tls12: [0x0807] }, suite: 'ECDSA' },
  rsa: { signatures: { tls13: pss, tls12: [0x0401, 0x0501, 0x0601, ...pss] }, suite: 'RSA' },
};

function needsOf({ publicKey }: X509Certificate): Needs | undefined {
  const { namedCurve } = publicKey.asymmetricKeyDetails ?? {};
  return needs[namedCurve ?? publicKey.asymmetricKeyType ?? ''];
}

/** The TLS 1.2 suites that operators list by name. */
const suites: readonly string[] = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-RSA-CHACHA20-POLY1305',
];

/** The accepted suites of one kind. None is certain if OpenSSL's operators (such as `!aNULL`) are used. */
function idsOf(kind: 'ECDSA' | 'RSA', configured: readonly string[] | undefined): number[] {
  if (configured?.some((entry) => /^[!+\-@]/.test(entry))) return [];
  const names = suites.filter((name) => name.includes(`-${kind}-`) && (configured?.includes(name) ?? true));
  return numbersOf('ciphers', names);
}

function meet(offered: readonly number[], wanted: readonly number[]): boolean {
  return offered.some((one) => wanted.includes(one));
}
