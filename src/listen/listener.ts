/** Bound sockets: TCP and unix, several addresses for one listener. */
import { existsSync } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { createServer, connect as netConnect, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { type Config, parseEndpoint } from '../config/schema.ts';
import { ProxyError, systemCode } from '../errors.ts';

export type Bound = {
  /** `127.0.0.1:5432`, with the port that the system chose if 0 was asked for, or `unix:/path`. */
  readonly address: string;
  readonly port: number;
  /** Stops accepting; open connections go on. Resolves when the socket is closed. */
  readonly close: () => Promise<void>;
};

/**
 * Binds one address. Sockets arrive as they should be for the peek: no delay, not half-open until they are
 * established (a FIN in mid-handshake must end it). Throws ProxyError ERR_LISTEN.
 */
export async function bind(
  address: string,
  name: string,
  onConnection: (socket: Socket) => void,
): Promise<Bound> {
  const endpoint = parseEndpoint(address);
  if (endpoint === undefined) throw new TypeError(`not an address: ${address}`);
  const server = createServer({ noDelay: true }, (socket) => {
    // A TCP client that has gone already has no address any more, and must not pass for one on a unix socket.
    if (!('path' in endpoint) && socket.remoteAddress === undefined) socket.destroy();
    else onConnection(socket);
  });
  try {
    if ('path' in endpoint) {
      await listen(server, { path: endpoint.path });
    } else {
      // `[::]:port` is IPv6 alone, so that it can stand beside 0.0.0.0; `:port` is both.
      const ipv6Only = endpoint.host?.includes(':') ?? false;
      await listen(server, { host: endpoint.host, port: endpoint.port, ipv6Only, backlog: 4096 });
    }
  } catch (error) {
    throw listenError(address, name, error);
  }
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  return {
    address: port === 0 ? address : address.replace(/:\d+$/, `:${port}`),
    port,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

function listen(server: Server, options: Parameters<Server['listen']>[0] & object): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
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

async function removeStaleSocket(path: string): Promise<void> {
  const refused = await new Promise<boolean>((resolve) => {
    const probe = netConnect({ path });
    probe.once('connect', () => resolve(false));
    probe.once('error', (error) => resolve(systemCode(error) === 'ECONNREFUSED'));
    probe.once('connect', () => probe.destroy());
  });
  if (refused) await unlink(path);
}

const reasons: Record<string, string> = {
  EADDRINUSE: 'is already in use',
  EACCES: 'needs a privilege that this process lacks',
  EADDRNOTAVAIL: 'is not an address of this machine',
};

const hints: Record<string, string> = {
  EADDRINUSE: 'find who holds it with `ss -ltnp`, or bind another port',
  EACCES: 'ports below 1024 need CAP_NET_BIND_SERVICE or socket activation',
};

function listenError(address: string, name: string, cause: unknown): ProxyError {
  const code = systemCode(cause);
  const reason = socketFileReason(address, code) ?? reasons[code] ?? 'cannot be bound';
  return new ProxyError('ERR_LISTEN', {
    side: 'proxy',
    message: `listeners.${name}.bind: ${address} ${reason} (${code})`,
    hint: address.startsWith('unix:') ? undefined : hints[code],
    cause,
  });
}

/** For unix sockets libuv says EACCES where the system said ENOENT. */
function socketFileReason(address: string, code: string): string | undefined {
  if (!address.startsWith('unix:') || code !== 'EACCES') return undefined;
  const directory = dirname(address.slice('unix:'.length));
  return existsSync(directory)
    ? 'may not be made there by this user'
    : 'is in a directory that does not exist';
}
