/** Which requests come from somebody else's web page: a browser carries them past every firewall. */
import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { inBlockList, normalizeAddress } from '../net/address.ts';

/** `boundHost` is written as in the configuration. */
type Reach = {
  readonly reach: 'unix' | 'loopback' | 'public';
  readonly boundHost: string | undefined;
};

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Whether only this machine can reach an address; false for names. */
export function isLoopback(address: string): boolean {
  return inBlockList(loopback, normalizeAddress(address));
}

/** Why a request is refused; undefined if it is not. */
export function refusalOf(headers: IncomingHttpHeaders, method: string, at: Reach): string | undefined {
  const { host, origin, 'sec-fetch-site': site } = headers;
  if (!isKnownHost(host, at)) {
    return 'the Host of this request is not a name of this endpoint: use localhost or its address';
  }
  // A page's own scripts send its origin. No other page may request anything.
  if (origin !== undefined && origin.toLowerCase() !== `http://${host?.toLowerCase()}`) {
    return 'requests from other origins are refused';
  }
  if (method === 'POST' && site !== undefined && site !== 'same-origin' && site !== 'none') {
    return 'requests from other sites are refused';
  }
  return undefined;
}

/**
 * A page whose name was made to resolve to 127.0.0.1 has the same origin as we do; only its Host header gives
 * it away, and browsers always send one. On an address that others can reach we do not know which names lead
 * here, but everything served there is public anyway. Browsers cannot reach unix sockets.
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
