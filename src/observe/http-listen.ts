/** Binds servers for HTTP: at an address, or at a unix socket that nobody can reach before it has rights. */
import { lstat } from 'node:fs/promises';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo, ListenOptions, Socket } from 'node:net';
import { ProxyError, systemCode } from '../errors.ts';
import { formatAddress } from '../net/address.ts';
import { type FileRights, removeStaleSocket } from '../net/socket-file.ts';
import { parseEndpoint } from '../net/written-address.ts';

export type Listening = {
  /** `127.0.0.1:9901`, with the port that the system chose if 0 was asked for, or `unix:/path`. */
  readonly address: string;
  /** The host without its port; undefined for a unix socket. */
  readonly host: string | undefined;
  /** The rights of the socket's file: mode 0660, of the user and group that penstock runs as. */
  readonly made: FileRights | undefined;
};

/** `key` is where the configuration says so. Throws ERR_LISTEN. */
export async function listenHttp(server: Server, bind: string, key: string): Promise<Listening> {
  const endpoint = parseEndpoint(bind);
  if (endpoint === undefined) throw new TypeError(`not an address: ${bind}`);
  let made: FileRights | undefined;
  if ('path' in endpoint) await removeStaleSocket(endpoint.path, key);
  try {
    if ('path' in endpoint) made = await listenPrivately(server, endpoint.path);
    else await listen(server, { host: endpoint.host, port: endpoint.port });
  } catch (error) {
    throw listenError(bind, key, error);
  }
  const bound = server.address() as AddressInfo | string;
  const isPath = typeof bound === 'string';
  return { address: isPath ? bind : formatAddress(bound), host: isPath ? undefined : bound.address, made };
}

/**
 * Idle clients must not use up memory and descriptors that active ones need: at the limit, the oldest idle
 * one is dropped.
 */
export function boundConnections(server: Server, most: number): void {
  const waiting = new Set<Socket>();
  server.maxConnections = most + 1;
  server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    waiting.delete(socket);
    response.once('close', () => socket.destroyed || waiting.add(socket));
  });
  server.on('setSecureContext' in server ? 'secureConnection' : 'connection', (socket: Socket) => {
    waiting.add(socket);
    socket.once('close', () => waiting.delete(socket));
    const [oldest] = waiting;
    server.getConnections((_, count) => count > most && oldest?.destroy());
  });
}

/** Binding is synchronous, so the changed umask affects nothing else. */
async function listenPrivately(server: Server, path: string): Promise<FileRights> {
  const umask = process.umask(0o777);
  const listening = listen(server, { path });
  process.umask(umask);
  await listening;
  const { uid, gid } = await lstat(path);
  return { mode: 0o660, uid, gid };
}

function listen(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function listenError(bind: string, key: string, cause: unknown): ProxyError {
  const code = systemCode(cause);
  return new ProxyError('ERR_LISTEN', {
    side: 'proxy',
    message: `${key}: ${bind} ${code === 'EADDRINUSE' ? 'is already in use' : 'cannot be bound'} (${code})`,
    hint: code === 'EADDRINUSE' ? 'find who holds it with `ss -lntxp`, or bind another address' : undefined,
    cause,
  });
}
