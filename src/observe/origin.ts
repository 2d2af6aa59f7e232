/** Which requests come from a page of somebody else's: a browser carries them past every firewall. */
import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { inBlockList, normalizeAddress } from '../net/address.ts';

/** `boundHost`: as the configuration writes it. */
type Reach = {
  readonly reach: 'unix' | 'loopback' | 'public';
  readonly boundHost: string | undefined;
};

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Whether an address is of this machine alone; never for names. */
export function isLoopback(address: string): boolean {
  return inBlockList(loopback, normalizeAddress(address));
}

/** Why a request is refused; undefined if it is not. */
export function refusalOf(headers: IncomingHttpHeaders, method: string, at: Reach): string | undefined {
  const { host, origin, 'sec-fetch-site': site } = headers;
  if (!isKnownHost(host, at)) {
    return 'the Host of this request is not a name of this endpoint: use localhost or its address';
  }
  // A page's own scripts send its origin. No other page may ask for anything.
  if (origin !== undefined && origin.toLowerCase() !== `http://${host?.toLowerCase()}`) {
    return 'requests of other origins are refused';
  }
  if (method === 'POST' && site !== undefined && site !== 'same-origin' && site !== 'none') {
    return 'requests of other sites are refused';
  }
  return undefined;
}

/**
 * A page whose name was made to resolve to 127.0.0.1 is of the same origin as we are; only its Host gives it away. Browsers
 * always send one. Where others may connect anyway, the names that lead here are not known, and what is given is for all;
 * browsers don't reach unix sockets.
 */
function isKnownHost(host: string | undefined, { reach, boundHost }: Reach): boolean {
  if (reach !== 'loopback' || host === undefined) return true;
  const name = /^(\[[^\]]*\]|[^:]*)(:\d+)?$/
    .exec(host)?.[1]
    ?.toLowerCase()
    .replace(/^\[(.*)\]$/, '$1');
  if (name === undefined) return false;
  return name === 'localhost' || name === boundHost?.toLowerCase() || (isIP(name) !== 0 && isLoopback(name));
}
