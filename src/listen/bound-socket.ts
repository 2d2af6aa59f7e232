/** Sockets that are bound here and listened on by other processes: net.BoundSocket, of Node 26.4 and 24.19 and later. */
import { fstatSync } from 'node:fs';
import * as net from 'node:net';
import type { TcpEndpoint } from '../config/schema/values.ts';
import { systemCode } from '../errors.ts';
import { otherListens } from './port-owner.ts';

/** Whoever destroys the socket lets go of the address, here; `fd` is for processes that are started. */
export type BoundTcp = { readonly socket: net.Socket; readonly fd: number };

export const canBindForOthers: boolean = 'BoundSocket' in net;

/**
 * Binds an address without names; throws the system's error. The port may be shared (SO_REUSEPORT), as that is how a reload
 * moves from 127.0.0.1 to 0.0.0.0 and back while both are bound; unless the address `isOurs` already, nobody else may listen
 * there. `isShared` finds a program that begins to listen at the same moment.
 */
export function bindSocket(endpoint: TcpEndpoint, isOurs: boolean): BoundTcp {
  // With port 0 the system would look for a free one twice.
  if (!isOurs && endpoint.port !== 0) open(endpoint, false).close();
  const bound = open(endpoint, endpoint.port !== 0);
  const fd = bound.fd();
  // A BoundSocket itself cannot be sent to a process that runs already.
  return { fd, socket: new net.Socket({ handle: bound, readable: false, writable: false }) };
}

/** Whether another socket listens at the very address that this one listens at. */
export function isShared({ fd }: BoundTcp): boolean {
  return otherListens(fstatSync(fd).ino);
}

function open({ host, port }: TcpEndpoint, reusePort: boolean): net.BoundSocket {
  // `[::]:port` is IPv6 alone, so that it can stand beside 0.0.0.0; `:port` is both.
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

/** What binding `::` comes to where there is no IPv6. */
const withoutIpv6 = ['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EPROTONOSUPPORT', 'EINVAL'];
