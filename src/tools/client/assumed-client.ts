/** The client to explain: what is known about it, and what was not stated. */
import type { X509Certificate } from 'node:crypto';
import type { ConnectionCode } from '../../errors.ts';
import { tls10, tls11, tls12, tls13 } from '../../openssl/registries.ts';
import type { ReadHello } from '../../peek/client-hello.ts';
import { ja4 } from '../../peek/ja4.ts';

/** Names and addresses are normalized. Unless noted otherwise, `undefined` means not stated. */
export type AssumedClient = {
  /** undefined means that it sends no name. */
  readonly sni: string | undefined;
  /** [] means that it offers no protocol. */
  readonly alpn: readonly string[] | undefined;
  /** An address or `unix`; with a PROXY header, the address in it. */
  readonly address: string | undefined;
  /** The peer that connects, if a PROXY header is required: an address or `unix`. */
  readonly peer: string | undefined;
  readonly ja4: string | undefined;
  /** It speaks no TLS. */
  readonly plain: boolean;
  /** The TLS versions it speaks, as on the wire. */
  readonly versions: readonly number[] | undefined;
  /** What it actually sent; the fields above agree with it. */
  readonly hello: ReadHello | undefined;
  /** What it presents if asked, its own certificate first; [] means none. */
  readonly certificates: readonly X509Certificate[] | undefined;
  /** It left before it said any of this, with this code. */
  readonly gone: Gone | undefined;
};

export type Gone = {
  readonly code: ConnectionCode;
  readonly error: string | null;
  readonly hint: string | null;
};

/** A TLS client that sends no name and offers no protocol; nothing else is known about it. */
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

/** The TLS versions by their usual names, lowest first. */
export const tlsVersions: Readonly<Record<string, number>> = {
  '1.0': tls10,
  '1.1': tls11,
  '1.2': tls12,
  '1.3': tls13,
};

/** The client that a ClientHello describes. */
export function clientOf(read: ReadHello): AssumedClient {
  const { hello } = read;
  return {
    ...anyClient,
    sni: hello.sni,
    alpn: hello.alpn,
    ja4: ja4(hello),
    // Before TLS 1.3 a hello states only the highest version.
    versions: hello.versions.length > 0 ? hello.versions : upTo(hello.legacyVersion),
    hello: read,
  };
}

/** All versions up to this one. */
export function upTo(version: number): number[] {
  return Object.values(tlsVersions).filter((known) => known <= version);
}
