/** Bound sockets: TCP, unix, and those that systemd hands over; several addresses for one listener. */
import { existsSync } from 'node:fs';
import { type AddressInfo, createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Config } from '../config/schema.ts';
import { type Endpoint, parseBinding, parseEndpoint } from '../config/values.ts';
import { ProxyError, systemCode } from '../errors.ts';
import { removeStaleSocket } from '../socket-file.ts';
import { holderOf } from './holder.ts';
import { takeHeld, takeInherited } from './inherited.ts';

export type Bound = {
  /** `127.0.0.1:5432`, with the port that the system chose if 0 was asked for, `unix:/path`, or `systemd:NAME`. */
  readonly address: string;
  readonly port: number;
  /** systemd handed it over: once closed, it could not be had again. */
  readonly inherited: boolean;
  /** Stops accepting; open connections go on. Resolves when the socket is closed. */
  readonly close: () => Promise<void>;
};

/** systemd's default too; the kernel cuts it to net.core.somaxconn. */
const backlog = 4096;

/**
 * Binds one address. Sockets arrive as they should be for the peek: no delay, not half-open until they are
 * established (a FIN in mid-handshake must end it). Throws ProxyError ERR_LISTEN.
 */
export async function bind(
  address: string,
  name: string,
  onConnection: (socket: Socket) => void,
): Promise<Bound> {
  const binding = parseBinding(address);
  if (binding === undefined) throw new TypeError(`not an address: ${address}`);
  const targets =
    'systemd' in binding
      ? handedOver(binding.systemd, name)
      : [takeHeld(address, name) ?? listenOptions(binding)];
  const servers = targets.map(() =>
    createServer({ noDelay: true, pauseOnConnect: true }, (socket) => {
      // A TCP client that has gone already has no address any more, and must not pass for one on a unix socket.
      if (!('path' in binding) && socket.remoteAddress === undefined) socket.destroy();
      else onConnection(socket);
    }),
  );
  const close = async () => {
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  };
  try {
    await Promise.all(servers.map((server, index) => listen(server, targets[index])));
  } catch (error) {
    await close();
    throw listenError(address, name, error);
  }
  const bound = servers[0]?.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  return {
    address: 'port' in binding ? address.replace(/:\d+$/, `:${port}`) : address,
    port,
    inherited: 'systemd' in binding,
    close,
  };
}

function listenOptions(endpoint: Endpoint): ListenOptions {
  if ('path' in endpoint) return { path: endpoint.path };
  // `[::]:port` is IPv6 alone, so that it can stand beside 0.0.0.0; `:port` is both.
  return { host: endpoint.host, port: endpoint.port, ipv6Only: endpoint.host?.includes(':') ?? false };
}

/** The sockets that systemd calls so. */
function handedOver(socketName: string, name: string): readonly Socket[] {
  const fault = (message: string, hint: string) =>
    new ProxyError('ERR_LISTEN', {
      side: 'proxy',
      message: `listeners.${name}.bind: systemd:${socketName} ${message}`,
      hint,
    });
  const sockets = takeInherited(socketName, (socket) => {
    if ((socket.address() as Partial<AddressInfo>).port !== undefined) return;
    throw fault('is no TCP socket', 'for a unix socket, bind unix:/path');
  });
  if (sockets.length > 0) return sockets;
  throw fault(
    'was not handed over by systemd',
    `start penstock by a socket unit with FileDescriptorName=${socketName}, and no shell or npm in between`,
  );
}

function listen(server: Server, target: ListenOptions | Socket | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(target, backlog, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/**
 * Removes the socket files of a configuration that nobody answers on: they were left by a process that died. To be done by
 * one process, before any binds: two that look at once would remove each other's.
 */
export async function removeStaleSockets({ listeners }: Pick<Config, 'listeners'>): Promise<void> {
  const endpoints = Object.values(listeners).flatMap(({ bind }) => bind.map(parseEndpoint));
  const paths = endpoints.flatMap((endpoint) => (endpoint && 'path' in endpoint ? [endpoint.path] : []));
  await Promise.all(paths.map(removeStaleSocket));
}

const reasons: Record<string, string> = {
  EADDRINUSE: 'is already in use',
  EACCES: 'needs a privilege that this process lacks',
  EADDRNOTAVAIL: 'is not an address of this machine',
};

const hints: Record<string, string> = {
  EADDRINUSE: 'find who listens there with `ss -ltnp`, or bind another port',
  EACCES: 'ports below 1024 need CAP_NET_BIND_SERVICE or socket activation',
};

function listenError(address: string, name: string, cause: unknown): ProxyError {
  const code = systemCode(cause);
  const reason = socketFileReason(address, code) ?? reasons[code] ?? 'cannot be bound';
  return new ProxyError('ERR_LISTEN', {
    side: 'proxy',
    message: `listeners.${name}.bind: ${address} ${reason} (${code})`,
    hint: code === 'EADDRINUSE' ? hintOfUse(address) : address.startsWith('unix:') ? undefined : hints[code],
    cause,
  });
}

function hintOfUse(address: string): string | undefined {
  const endpoint = parseEndpoint(address);
  const holder = endpoint && holderOf(endpoint);
  if (holder !== undefined) return `${holder} listens there: stop it, or bind another address`;
  return address.startsWith('unix:') ? undefined : hints.EADDRINUSE;
}

/** For unix sockets libuv says EACCES where the system said ENOENT. */
function socketFileReason(address: string, code: string): string | undefined {
  if (!address.startsWith('unix:') || code !== 'EACCES') return undefined;
  const directory = dirname(address.slice('unix:'.length));
  return existsSync(directory)
    ? 'may not be made there by this user'
    : 'is in a directory that does not exist';
}
