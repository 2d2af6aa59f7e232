/** What is asked of an endpoint, and what came of it. Numbers are those of IANA's registries. */
import type { X509Certificate } from 'node:crypto';
import type { Chain } from './chain.ts';
import type { CertificateRequest } from './flight.ts';
import type { Handshake } from './handshake.ts';
import type { Way } from './link.ts';

export type Questions = {
  readonly way: Way;
  /** The server name to send; undefined: none. */
  readonly name: string | undefined;
  /** The name or address that the certificate should have; undefined: a unix socket has none. */
  readonly host: string | undefined;
  /** The CAs to trust, PEM. */
  readonly anchors: readonly string[];
  readonly credential: { readonly cert: string; readonly key: string } | undefined;
  /** Offered in every handshake, as a client of that protocol would. */
  readonly alpn: readonly string[];
  /** ALPN names to try out. */
  readonly protocols: readonly string[];
  readonly ciphers13: readonly number[];
  readonly ciphers12: readonly number[];
  /** Those of `ciphers12` that use a group. */
  readonly ecdhe12: readonly number[];
  readonly groups: readonly number[];
  readonly signatureAlgorithms: readonly number[];
  /** OpenSSL's list, as penstock offers it to its upstreams. */
  readonly ownCiphers: string;
  readonly maxConnections: number;
  readonly maxMs: number;
};

/** One certificate of the server: it may have another for each type of key. */
export type FoundCertificate = {
  readonly leaf: X509Certificate;
  readonly sent: readonly X509Certificate[];
  readonly chain: Chain;
  /** OpenSSL's word for what is wrong with the chain; undefined if it verifies. */
  readonly fault: string | undefined;
  /** Whether it is for the name that was meant; undefined if there is none. */
  readonly named: boolean | undefined;
};

/** Whose order decides what is chosen; undefined where there is no choice, or it was not asked. */
export type Accepted = { readonly values: number[]; preference: 'server' | 'client' | undefined };

/** Filled in as the answers come; `undefined` is what could not be found out, or was not asked any more. */
export type Findings = {
  connections: number;
  /** What the first connection showed, without STARTTLS. */
  connectMs: number;
  readonly versions: Map<number, boolean>;
  ciphers13: Accepted | undefined;
  ciphers12: Accepted | undefined;
  groups: Accepted | undefined;
  readonly certificates: FoundCertificate[];
  /** What is said about client certificates; undefined: none is asked for. */
  request: CertificateRequest | undefined;
  /**
   * Without a certificate `required` and `optional`, with one `accepted` and `refused`; `unclear`: it closed right after the
   * handshake, and did not say why.
   */
  clientCertificate: 'required' | 'optional' | 'accepted' | 'refused' | 'unclear' | undefined;
  /** The handshake with penstock's own settings, and where that failed, with all that OpenSSL has. */
  own: Handshake | undefined;
  lenient: Handshake | undefined;
  alpn: string[] | undefined;
  /** It takes nobody who offers no protocol. */
  demandsAlpn: boolean;
  readonly resumption: { tls13?: boolean; tickets?: boolean; ids?: boolean };
  /** Why it ended before all was asked. */
  stopped: string | undefined;
};

export function noFindings(): Findings {
  return {
    connections: 0,
    connectMs: 0,
    versions: new Map(),
    ciphers13: undefined,
    ciphers12: undefined,
    groups: undefined,
    certificates: [],
    request: undefined,
    clientCertificate: undefined,
    own: undefined,
    lenient: undefined,
    alpn: undefined,
    demandsAlpn: false,
    resumption: {},
    stopped: undefined,
  };
}
