/** The target of the load: resolved once, and only on this machine unless its owner says otherwise. */
import { lookup } from 'node:dns/promises';
import { connect, isIP } from 'node:net';
import { formatAddress, normalizeAddress } from '../../net/address.ts';
import { parseEndpoint } from '../../net/written-address.ts';
import { UsageError } from '../terminal/usage.ts';
import type { Plan } from './engine/plan.ts';

export type LoadTarget = {
  readonly plan: Plan['target'];
  /** The name or address as given, for SNI and verification. */
  readonly host: string | undefined;
};

/**
 * Every address of a name must be a loopback address, unless `owned`. If there are several, the first that
 * accepts a connection is used for all. Throws UsageError.
 */
export async function resolveTarget(text: string, owned: boolean): Promise<LoadTarget> {
  const endpoint = parseEndpoint(text);
  if (endpoint && 'path' in endpoint) return { plan: endpoint, host: undefined };
  if (!endpoint || endpoint.host === undefined || endpoint.port === 0) {
    throw new UsageError(`${text}: expected host:port, [v6]:port or unix:/path`);
  }
  const { host, port } = endpoint;
  const addresses = await resolve(host);
  const foreign = addresses.find((address) => !isLoopback(address));
  if (foreign !== undefined && !owned) {
    const what = foreign === host ? host : `${host} is ${foreign}, which`;
    throw new UsageError(
      `${what} is not a loopback address; load on a machine of others is an attack. If it is yours, say so: --i-own-this-target`,
    );
  }
  return { plan: { host: await firstThatAccepts(addresses, port), port }, host };
}

async function resolve(host: string): Promise<string[]> {
  if (isIP(host)) return [normalizeAddress(host)];
  try {
    const found = await lookup(host, { all: true });
    return found.map(({ address }) => normalizeAddress(address));
  } catch (error) {
    throw new UsageError(`${host} cannot be resolved (${(error as NodeJS.ErrnoException).code})`);
  }
}

function isLoopback(address: string): boolean {
  return address === '::1' || /^127\./.test(address);
}

/** `localhost` often resolves to `::1` first, where nothing listens. */
async function firstThatAccepts(addresses: readonly string[], port: number): Promise<string> {
  const [first = ''] = addresses;
  if (addresses.length < 2) return first;
  for (const host of addresses) if (await accepts(host, port)) return host;
  return first;
}

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 1000 });
    const settle = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.on('connect', () => settle(true));
    socket.on('error', () => settle(false));
    socket.on('timeout', () => settle(false));
  });
}

/** The target as displayed. */
export function describeTarget(target: Plan['target']): string {
  return 'path' in target
    ? `unix:${target.path}`
    : formatAddress({ address: target.host, port: target.port });
}
