/**
 * Sockets that this process binds and others listen on: net.BoundSocket, which needs
 * Node 26.4, or 24.19 and later.
 */
import { fstatSync } from 'node:fs';
import * as net from 'node:net';
import { systemCode } from '../errors.ts';
import type { TcpEndpoint } from '../net/written-address.ts';
import { otherListens } from './port-owner.ts';

/** Destroying the socket frees the address in this process; `fd` is for the processes we start. */
export type BoundTcp = { readonly socket: net.Socket; readonly fd: number };

export const canBindForOthers: boolean = 'BoundSocket' in net;

/**
 * Binds an address, which must be numeric; throws the system's error. Uses SO_REUSEPORT, because a
 * reload that moves from 127.0.0.1 to 0.0.0.0 or back has both bound for a while. Unless the address
 * `isOurs` already, nobody else may be listening there. A program that starts listening at the same
 * moment is found by `isShared`.
 */
export function bindSocket(endpoint: TcpEndpoint, isOurs: boolean): BoundTcp {
  // Not for port 0: the system would pick a free port twice.
  if (!isOurs && endpoint.port !== 0) open(endpoint, false).close();
  const bound = open(endpoint, endpoint.port !== 0);
  const fd = bound.fd();
  // A BoundSocket itself cannot be sent to a running process.
  return { fd, socket: new net.Socket({ handle: bound, readable: false, writable: false }) };
}

/** Whether another socket listens on exactly this address. */
export function isShared({ fd }: BoundTcp): boolean {
  return otherListens(fstatSync(fd).ino);
}

function open({ host, port }: TcpEndpoint, reusePort: boolean): net.BoundSocket {
  // `[::]:port` is IPv6 only, so that it can stand beside 0.0.0.0; `:port` is both.
  const options = { host: host ?? '::', port, ipv6Only: host?.includes(':') ?? false };
  try {
    return new net.BoundSocket({ ...options, reusePort });
  } catch (error) {
    // Not every system can share ports.
    if (reusePort && systemCode(error) === 'ENOTSUP') return new net.BoundSocket(options);
    if (host !== undefined || !withoutIpv6.includes(systemCode(error))) throw error;
    return open({ host: '0.0.0.0', port }, reusePort);
  }
}

/** How binding `::` can fail where there is no IPv6. */
const withoutIpv6 = ['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EPROTONOSUPPORT', 'EINVAL'];
