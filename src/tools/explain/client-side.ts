/** What a client sees of a route that terminates TLS, and what it must present. */
import type { LoadedAuthority, LoadedCertificate, LoadedConfig, LoadedPair } from '../../config/load.ts';
import { daysLeft, nameOf } from '../../config/material/describe.ts';
import type { ClientAuthConfig, TerminateConfig } from '../../config/schema/schema.ts';
import { ProxyError } from '../../errors.ts';
import { createCertificateChooser } from '../../tls/server/certificates.ts';
import { createPairChooser } from '../../tls/server/pair-choice.ts';
import { createTlsPolicy, type TlsPolicy } from '../../tls/server/terminate.ts';
import { createTicketMasters, type TicketMasterSource } from '../../tls/server/ticket-masters.ts';
import { isNamed } from '../../x509/is-named.ts';
import type { AssumedClient } from '../client/assumed-client.ts';
import { createJudge, type RoutePlace } from './judgement.ts';
import { type Agreement, rehearse } from './rehearsal.ts';
import { helloOf } from './stand-in.ts';

export type ClientSide = ReturnType<typeof describeSide>;

export type ClientSides = {
  /** Returns plain values, for `--json` and for the text, and the error if the client's side fails. */
  readonly explain: (
    tls: TerminateConfig,
    place: RoutePlace,
    client: AssumedClient,
  ) => Promise<{ readonly side: ClientSide; readonly failure: ProxyError | undefined }>;
  readonly close: () => Promise<void>;
};

/** Creates each TLS block's policy once. Without keys there is no handshake to rehearse. */
export function createClientSides(loaded: LoadedConfig, rehearses: boolean): ClientSides {
  const masters = createTicketMasters(12 * 3600 * 1000);
  const policies = new Map<TerminateConfig, TlsPolicy>();
  const judge = createJudge();
  function policyOf(tls: TerminateConfig, parts: Parts): TlsPolicy {
    const policy = policies.get(tls) ?? createTlsPolicy(parts);
    policies.set(tls, policy);
    return policy;
  }
  return {
    async explain(tls, place, client) {
      const parts = partsOf(tls, loaded, masters);
      const hello = rehearses ? helloOf(client) : undefined;
      const rehearsed = hello && (await rehearse(policyOf(tls, parts), hello));
      const agreed = rehearsed instanceof ProxyError ? undefined : rehearsed;
      let failure = rehearsed instanceof ProxyError ? rehearsed : undefined;
      const alpn = agree(tls.alpn, client.alpn);
      const auth = tls.client_auth;
      const verdict =
        auth && auth.mode !== 'none' && !failure
          ? await judge.verdict(auth, parts.authority, { ...place, client, alpn: alpn.agreed ?? undefined })
          : undefined;
      failure ??= verdict?.refusal;
      return { side: describeSide(parts, client, { agreed, alpn, verdict }), failure };
    },
    async close() {
      masters.stop();
      await judge.close();
    },
  };
}

type Parts = {
  readonly config: TerminateConfig;
  readonly certificates: readonly LoadedCertificate[];
  readonly authority: LoadedAuthority | undefined;
  readonly masters: TicketMasterSource;
};

function partsOf(config: TerminateConfig, loaded: LoadedConfig, masters: TicketMasterSource): Parts {
  const authority = config.client_auth?.authority;
  return {
    config,
    certificates: config.certificates.flatMap((name) => loaded.certificates.get(name) ?? []),
    authority: authority === undefined ? undefined : loaded.authorities.get(authority),
    masters,
  };
}

/** The results for one client. */
type Findings = {
  readonly agreed: Agreement | undefined;
  readonly alpn: ReturnType<typeof agree>;
  readonly verdict: { readonly admitted: boolean | null } | undefined;
};

function describeSide(parts: Parts, client: AssumedClient, { agreed, alpn, verdict }: Findings) {
  const { config, authority, certificates } = parts;
  const auth = config.client_auth;
  const shown = createCertificateChooser(certificates)(client.sni);
  return {
    min_version: config.min_version,
    max_version: config.max_version,
    /** What is negotiated. Known only if the client's versions are; the suite only if its hello is. */
    version: client.versions ? (agreed?.version ?? null) : null,
    cipher: client.hello ? (agreed?.cipher ?? null) : null,
    alpn,
    certificate: describe(shown, client.sni, pairShown(shown.pairs, config, client, agreed)),
    client_auth: auth && auth.mode !== 'none' ? demand(auth, authority, verdict?.admitted ?? null) : null,
  };
}

/**
 * The server's preference decides. A client that offers only unknown protocols is refused (RFC 7301 §3.2).
 */
function agree(spoken: readonly string[] | undefined, offered: readonly string[] | undefined) {
  const agreed = spoken?.find((protocol) => offered?.includes(protocol)) ?? null;
  return {
    spoken: spoken ?? null,
    agreed,
    fails: spoken !== undefined && offered !== undefined && offered.length > 0 && agreed === null,
  };
}

/** Which of several pairs the client sees, if that is certain. */
function pairShown(
  pairs: readonly LoadedPair[],
  config: TerminateConfig,
  { hello }: AssumedClient,
  agreed: Agreement | undefined,
): LoadedPair | undefined {
  if (pairs.length === 1) return pairs[0];
  if (!hello || !agreed) return undefined;
  const fitting = pairs.filter((pair) => {
    // The suites of TLS 1.2 name the key.
    if (agreed.version === '1.2') return agreed.cipher.includes(pair.keyType === 'rsa' ? 'RSA' : 'ECDSA');
    return createPairChooser([pair], config)(hello.hello) !== undefined;
  });
  return fitting.length === 1 ? fitting[0] : undefined;
}

function describe(
  { name, pairs }: LoadedCertificate,
  sni: string | undefined,
  shown: LoadedPair | undefined,
) {
  return {
    name,
    pairs: pairs.map((pair) => ({
      key_type: pair.keyType,
      subject: nameOf(pair.leaf),
      sans: pair.leaf.subjectAltName ?? null,
      expires: new Date(pair.leaf.validTo).toISOString(),
      days_left: daysLeft(new Date(pair.leaf.validTo)),
      /** Whether a client that verifies names would accept it; null without a name. */
      is_for_name: sni === undefined ? null : isNamed(pair.leaf, sni),
      /** Whether this is the pair that the client sees; null if that is not certain. */
      shown: shown ? pair === shown : null,
    })),
  };
}

function demand(
  { mode, authority: name, pins, allow, authorize }: ClientAuthConfig,
  authority: LoadedAuthority | undefined,
  admitted: boolean | null,
) {
  return {
    mode,
    authority: name ?? null,
    /** Whether there is a revocation list. */
    crl: (authority?.crl.length ?? 0) > 0,
    pins: pins ?? null,
    allow: allow ?? null,
    authorize: authorize ?? null,
    /** Whether the client's stated certificate is accepted; null if none was stated. */
    admitted,
  };
}
