/** The address that a tool connects to, for a host that a user has named. */
import { lookup } from 'node:dns/promises';
import { connect, isIP } from 'node:net';
import { normalizeAddress } from './address.ts';

/** All addresses of a name, normalized, in the system's order. Rejects with the system's error. */
export async function addressesOf(host: string): Promise<string[]> {
  if (isIP(host) !== 0) return [normalizeAddress(host)];
  const found = await lookup(host, { all: true });
  return found.map(({ address }) => normalizeAddress(address));
}

/**
 * The first address at which something accepts a connection within `ms`, or else the first of all:
 * `localhost` often resolves to `::1` first, where nothing listens. An only address is not tried.
 */
export async function firstThatAccepts(
  addresses: readonly string[],
  port: number,
  ms: number,
): Promise<string | undefined> {
  const [first] = addresses;
  if (addresses.length < 2) return first;
  for (const host of addresses) if (await accepts(host, port, ms)) return host;
  return first;
}

function accepts(host: string, port: number, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: ms });
    const settle = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.on('connect', () => settle(true));
    socket.on('error', () => settle(false));
    socket.on('timeout', () => settle(false));
  });
}
