/** Turns the command line into questions for an endpoint. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { systemAuthority } from '../../config/material/authorities.ts';
import { pemBlocks } from '../../config/read/files.ts';
import { serverName } from '../../config/schema/values.ts';
import { systemCode } from '../../errors.ts';
import { addressesOf, firstThatAccepts } from '../../net/target-address.ts';
import { parseEndpoint } from '../../net/written-address.ts';
import { cipherOptions } from '../../openssl/ciphers.ts';
import { UsageError } from '../terminal/usage.ts';
import { Failure } from './engine/failure.ts';
import type { Questions } from './engine/findings.ts';
import type { ProbeAddress } from './engine/link.ts';
import type { ProbeFlags } from './flags.ts';
import { offers, protocols } from './offers.ts';

/** The limit for a whole survey, however slow its target. */
const maxMs = 60_000;

/**
 * Resolves the target and reads the files. Throws UsageError, or a Failure if the name cannot be resolved.
 */
export async function questionsFor(target: string, flags: ProbeFlags): Promise<Questions> {
  const endpoint = endpointOf(target);
  const [anchors, credential] = [anchorsOf(flags.ca), credentialOf(flags)];
  const name = flags.sni === undefined ? undefined : nameOf(flags.sni);
  const host = 'path' in endpoint ? undefined : endpoint.host;
  const sni = name ?? (host !== undefined && isIP(host) === 0 ? host : undefined);
  const timeoutMs = flags.timeout;
  const place = await placeFor(endpoint, timeoutMs);
  return {
    way: { place, starttls: flags.starttls, name: sni, timeoutMs },
    name: sni,
    host: name ?? host,
    anchors,
    credential,
    alpn: flags.alpn ?? [],
    protocols: flags.alpn ?? protocols,
    ...offers,
    ownCiphers: cipherOptions().ciphers,
    maxConnections: flags.connections,
    maxMs,
  };
}

function endpointOf(target: string): ProbeAddress {
  const endpoint = parseEndpoint(target);
  if (endpoint && 'path' in endpoint) return endpoint;
  if (!endpoint || endpoint.host === undefined || endpoint.port === 0) {
    throw new UsageError(`${target}: expected host:port, [v6]:port or unix:/path`);
  }
  return { host: endpoint.host.replace(/\.$/, '').toLowerCase(), port: endpoint.port };
}

/** A place that accepts connections, if any does: otherwise the survey says why the first one does not. */
async function placeFor(endpoint: ProbeAddress, timeoutMs: number): Promise<ProbeAddress> {
  if ('path' in endpoint) return endpoint;
  const addresses = await addressesOf(endpoint.host).catch((error: unknown) => {
    throw new Failure('unresolved', `${endpoint.host} cannot be resolved (${systemCode(error)})`, {
      hint: 'check the name, and /etc/resolv.conf and /etc/hosts of this machine',
      cause: error,
    });
  });
  const host = await firstThatAccepts(addresses, endpoint.port, timeoutMs);
  if (host === undefined) throw new Failure('unresolved', 'the name has no address');
  return { host, port: endpoint.port };
}

function nameOf(text: string): string {
  const parsed = serverName.safeParse(text);
  if (!parsed.success || isIP(text) !== 0 || text.startsWith('*')) {
    throw new UsageError(`--sni ${text}: expected a host name such as db.example.com`);
  }
  return parsed.data;
}

function anchorsOf(ca: string): readonly string[] {
  if (ca === 'system') return systemAuthority().ca;
  const blocks = pemBlocks(read('--ca', ca), 'CERTIFICATE');
  if (blocks.length === 0) throw new UsageError(`--ca ${ca}: it holds no PEM certificate`);
  return blocks.map((block) => parsed('--ca', ca, () => new X509Certificate(block)).toString());
}

function credentialOf({ cert, key }: ProbeFlags): Questions['credential'] {
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) throw new UsageError('--cert and --key go together');
  const credential = { cert: read('--cert', cert), key: read('--key', key) };
  const certificate = parsed('--cert', cert, () => new X509Certificate(credential.cert));
  const privateKey = parsed('--key', key, () => createPrivateKey(credential.key));
  if (!certificate.checkPrivateKey(privateKey))
    throw new UsageError(`--key ${key}: it is not the key of ${cert}`);
  return credential;
}

function read(flag: string, path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    throw new UsageError(`${flag} ${path}: it cannot be read (${systemCode(error)})`);
  }
}

function parsed<T>(flag: string, path: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new UsageError(`${flag} ${path}: ${(error as Error).message}`);
  }
}
