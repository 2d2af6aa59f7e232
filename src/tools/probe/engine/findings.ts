/** What to ask an endpoint, and the findings. Numbers are from IANA's registries. */
import type { X509Certificate } from 'node:crypto';
import type { Chain } from './chain.ts';
import type { CertificateRequest } from './flight.ts';
import type { Handshake } from './handshake.ts';
import type { Way } from './link.ts';

export type Questions = {
  readonly way: Way;
  /** The server name to send; undefined for none. */
  readonly name: string | undefined;
  /** The name or address that the certificate should have; undefined for a unix socket. */
  readonly host: string | undefined;
  /** The CAs to trust, PEM. */
  readonly anchors: readonly string[];
  readonly credential: { readonly cert: string; readonly key: string } | undefined;
  /** Offered in every handshake, as clients of that protocol do. */
  readonly alpn: readonly string[];
  /** ALPN names to try. */
  readonly protocols: readonly string[];
  readonly ciphers13: readonly number[];
  readonly ciphers12: readonly number[];
  /** Those of `ciphers12` that use a group. */
  readonly ecdhe12: readonly number[];
  readonly groups: readonly number[];
  readonly signatureAlgorithms: readonly number[];
  /** The OpenSSL list that penstock offers to its upstreams. */
  readonly ownCiphers: string;
  readonly maxConnections: number;
  readonly maxMs: number;
};

/** One of the server's certificates; it may have one per key type. */
export type FoundCertificate = {
  readonly leaf: X509Certificate;
  readonly sent: readonly X509Certificate[];
  readonly chain: Chain;
  /** OpenSSL's name for what is wrong with the chain; undefined if it verifies. */
  readonly fault: string | undefined;
  /** Whether it is for the intended name; undefined if there is none. */
  readonly named: boolean | undefined;
};

/** Whose order decides the choice; undefined if there is no choice, or it was not asked. */
export type Accepted = { readonly values: number[]; preference: 'server' | 'client' | undefined };

/** Filled in as answers arrive; `undefined` means that it could not be found out, or was not asked. */
export type Findings = {
  connections: number;
  /** Measured on the first connection, without STARTTLS. */
  connectMs: number;
  readonly versions: Map<number, boolean>;
  ciphers13: Accepted | undefined;
  ciphers12: Accepted | undefined;
  groups: Accepted | undefined;
  readonly certificates: FoundCertificate[];
  /** The request for a client certificate; undefined if there is none. */
  request: CertificateRequest | undefined;
  /**
   * Without a certificate `required` and `optional`, with one `accepted` and `refused`; `unclear`: it closed
   * right after the handshake without saying why.
   */
  clientCertificate: 'required' | 'optional' | 'accepted' | 'refused' | 'unclear' | undefined;
  /** The handshake with penstock's own settings, and if that failed, with everything OpenSSL has. */
  own: Handshake | undefined;
  lenient: Handshake | undefined;
  alpn: string[] | undefined;
  /** Whether it refuses clients that offer no protocol. */
  demandsAlpn: boolean;
  readonly resumption: { tls13?: boolean; tickets?: boolean; ids?: boolean };
  /** Why the survey ended early. */
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
