/** The client that the flags of `explain` describe. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { pemBlocks } from '../../config/read/files.ts';
import { normalizeServerName } from '../../config/routes/server-name.ts';
import { systemCode } from '../../errors.ts';
import { isAddressForName, normalizeAddress } from '../../net/address.ts';
import { flagOf, UsageError } from '../terminal/usage.ts';
import { type AssumedClient, anyClient, tlsVersions } from './assumed-client.ts';

/** As parsed by commander. */
export type ClientFlags = {
  /** Absent: the client sends no name. */
  readonly sni?: string;
  /** Each is a protocol, or several separated by commas. */
  readonly alpn?: readonly string[];
  /** The client's address, or `unix`. */
  readonly from?: string;
  /** The peer that sends the PROXY header: an address, or `unix`. */
  readonly peer?: string;
  readonly ja4?: string;
  /** TLS versions, separated by commas. */
  readonly tls?: string;
  /** A PEM file, or `none`. */
  readonly clientCert?: string;
  /** It speaks no TLS. */
  readonly plain?: boolean;
};

/** What a ClientHello states. */
const heard = ['sni', 'alpn', 'ja4', 'tls'] as const;

/** A client as the flags describe it. Throws a UsageError. */
export function clientOfFlags(flags: ClientFlags): AssumedClient {
  const { sni, alpn, ja4, tls, plain = false } = flags;
  const said = [...heard, 'clientCert' as const].find((name) => flags[name] !== undefined);
  if (plain && said) {
    throw new UsageError(`--plain and ${flagOf(said)} exclude each other: only TLS clients have that`);
  }
  return {
    ...anyClient,
    sni: sni === undefined ? undefined : serverName(sni),
    alpn: (alpn ?? []).flatMap((list) => list.split(',')).filter((protocol) => protocol !== ''),
    ja4,
    plain,
    versions: tls === undefined ? undefined : versions(tls),
    ...surroundingsOf(flags),
  };
}

/**
 * Flags that can be combined with a real hello or a log line, whose flag is `source`. Throws a UsageError.
 */
export function overridesOf(flags: ClientFlags, source: string): Partial<AssumedClient> {
  const said = [...heard, 'plain' as const].find((name) => flags[name] !== undefined);
  if (said) throw new UsageError(`${source} and ${flagOf(said)} exclude each other: it says that itself`);
  return surroundingsOf(flags);
}

function surroundingsOf({ from, peer, clientCert }: ClientFlags): Partial<AssumedClient> {
  return {
    ...(from !== undefined && { address: address(from, '--from') }),
    ...(peer !== undefined && { peer: address(peer, '--peer') }),
    ...(clientCert !== undefined && { certificates: readCertificates(clientCert) }),
  };
}

/** The names that a ClientHello can have; any other is refused before routing. */
const namePattern = /^(?=.{1,253}$)[a-z0-9_-]+(\.[a-z0-9_-]+)*$/;

function serverName(text: string): string {
  const name = normalizeServerName(text);
  if (namePattern.test(name) || isAddressForName(name)) return name;
  throw new UsageError(
    `--sni ${text}: expected a name such as orders.example.com; without --sni the client sends none`,
  );
}

function address(text: string, flag: string): string {
  if (text === 'unix' || isIP(text) !== 0) return normalizeAddress(text);
  throw new UsageError(`${flag} ${text}: expected an address such as 10.1.2.3 or 2001:db8::1, or unix`);
}

function versions(text: string): number[] {
  return text.split(',').map((name) => {
    const version = Object.hasOwn(tlsVersions, name) ? tlsVersions[name] : undefined;
    if (version !== undefined) return version;
    const known = Object.keys(tlsVersions).join(', ');
    throw new UsageError(`--tls ${text}: expected versions among ${known}, such as 1.2 or 1.2,1.3`);
  });
}

/**
 * The certificates in a PEM file, the client's own first; `none` means no certificate. Throws a UsageError.
 */
export function readCertificates(file: string): X509Certificate[] {
  if (file === 'none') return [];
  try {
    const certificates = pemBlocks(readFileSync(file, 'latin1'), 'CERTIFICATE').map(
      (pem) => new X509Certificate(pem),
    );
    if (certificates.length > 0) return certificates;
  } catch (error) {
    const code = systemCode(error);
    if (!code.startsWith('E') || code.startsWith('ERR_')) {
      throw new UsageError(`${file} cannot be parsed as a certificate`);
    }
    throw new UsageError(`${file} cannot be read (${code})`);
  }
  throw new UsageError(`${file} holds no PEM certificate; \`none\` stands for a client without one`);
}
