/** The client that an explanation is about: what is known of it, and what nobody said. */
import type { X509Certificate } from 'node:crypto';
import type { ConnectionCode } from '../../errors.ts';
import { tls10, tls11, tls12, tls13 } from '../../openssl/registries.ts';
import type { ReadHello } from '../../peek/client-hello.ts';
import { ja4 } from '../../peek/ja4.ts';

/** Names and addresses are normalized. `undefined`: nobody said, unless it says otherwise. */
export type AssumedClient = {
  /** undefined: it sends no name. */
  readonly sni: string | undefined;
  /** []: it offers no protocol. */
  readonly alpn: readonly string[] | undefined;
  /** Or `unix`. After a PROXY header: the one that the header tells. */
  readonly address: string | undefined;
  /** The peer that connects, where a PROXY header is required: an address or `unix`. */
  readonly peer: string | undefined;
  readonly ja4: string | undefined;
  /** It speaks no TLS. */
  readonly plain: boolean;
  /** The versions of TLS that it speaks, as on the wire. */
  readonly versions: readonly number[] | undefined;
  /** What it really sent; all of the above that a hello tells is what this one tells. */
  readonly hello: ReadHello | undefined;
  /** What it presents if it is asked, its own certificate first; []: nothing. */
  readonly certificates: readonly X509Certificate[] | undefined;
  /** It went before it said any of this, with this code. */
  readonly gone: Gone | undefined;
};

export type Gone = {
  readonly code: ConnectionCode;
  readonly error: string | null;
  readonly hint: string | null;
};

/** A TLS client of which nothing is known but that it sends no name and offers no protocol. */
export const anyClient: AssumedClient = {
  sni: undefined,
  alpn: [],
  address: undefined,
  peer: undefined,
  ja4: undefined,
  plain: false,
  versions: undefined,
  hello: undefined,
  certificates: undefined,
  gone: undefined,
};

/** The TLS versions by the names that people write, lowest first. */
export const tlsVersions: Readonly<Record<string, number>> = {
  '1.0': tls10,
  '1.1': tls11,
  '1.2': tls12,
  '1.3': tls13,
};

/** What a ClientHello says about its client. */
export function clientOf(read: ReadHello): AssumedClient {
  const { hello } = read;
  return {
    ...anyClient,
    sni: hello.sni,
    alpn: hello.alpn,
    ja4: ja4(hello),
    // Before TLS 1.3 a hello names but the highest.
    versions: hello.versions.length > 0 ? hello.versions : upTo(hello.legacyVersion),
    hello: read,
  };
}

/** All versions up to this one. */
export function upTo(version: number): number[] {
  return Object.values(tlsVersions).filter((known) => known <= version);
}
