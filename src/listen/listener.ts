/** Bound sockets: TCP, unix, and those inherited from systemd; several addresses for one listener. */
import cluster from 'node:cluster';
import { existsSync } from 'node:fs';
import type { AddressInfo, ListenOptions, Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Config } from '../config/schema/schema.ts';
import { ProxyError, systemCode } from '../errors.ts';
import { removeStaleSocket } from '../net/socket-file.ts';
import { type EndpointAddress, parseBinding, parseEndpoint } from '../net/written-address.ts';
import { type Acceptor, accept } from './acceptor.ts';
import { socketKey, takeFromSupervisor, takeFromSystemd } from './inherited.ts';
import { portOwnerOf } from './port-owner.ts';

export type Bound = {
  /**
   * `127.0.0.1:5432`, with the port that the system chose if 0 was asked for;
   * `unix:/path`; or `systemd:NAME`.
   */
  readonly address: string;
  readonly port: number;
  /** systemd bound it: once closed, it cannot be opened again. */
  readonly fromSystemd: boolean;
} & Pick<Acceptor, 'serve' | 'giveUp' | 'close'>;

/** Binds one address; connections wait until it is served. Throws ProxyError ERR_LISTEN. */
export async function bind(address: string, name: string): Promise<Bound> {
  const binding = parseBinding(address);
  if (binding === undefined) throw new TypeError(`not an address: ${address}`);
  const acceptors = 'systemd' in binding ? ofSystemd(binding.systemd, name) : [one(address, name, binding)];
  const close = async () => void (await Promise.all(acceptors.map((acceptor) => acceptor.close())));
  try {
    await Promise.all(acceptors.map(({ listening }) => listening));
  } catch (error) {
    await close();
    throw listenError(address, name, error);
  }
  const bound = acceptors[0]?.server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  return {
    address: 'port' in binding ? address.replace(/:\d+$/, `:${port}`) : address,
    port,
    fromSystemd: 'systemd' in binding,
    serve(onConnection) {
      for (const acceptor of acceptors) acceptor.serve(onConnection);
    },
    giveUp: () => acceptors.flatMap((acceptor) => acceptor.giveUp()),
    close,
  };
}

/** What the supervisor has sent for the next configuration, by `socketKey`. */
const received = new Map<string, Acceptor>();

/** Listens at once, because Node takes the socket for a connection and would soon try to read from it. */
export function receiveSocket(key: string, socket: Socket): void {
  received.set(key, accept(socket));
}

/** Closes the sockets that were sent for a configuration that never came. */
export function dropReceived(): void {
  for (const acceptor of received.values()) void acceptor.close();
  received.clear();
}

/** Uses the supervisor's socket if it has bound the address for its workers. */
function one(address: string, name: string, endpoint: EndpointAddress): Acceptor {
  const key = socketKey(address, name);
  const sent = received.get(key);
  received.delete(key);
  const inherited = takeFromSupervisor(address, name);
  if (sent) return sent;
  if (inherited) return accept(inherited);
  if (lost.has(address)) throw listenError(address, name, lost.get(address));
  const acceptor = accept(listenOptions(endpoint));
  const isShared = cluster.isWorker && 'port' in endpoint;
  if (isShared) acceptor.listening.catch((error) => lost.set(address, error));
  return acceptor;
}

/**
 * What node:cluster could not give this worker, and why. Asking again for a port whose `listen` has failed
 * ends the process with an assertion (Node 22 and later). The supervisor tries each address first, so this
 * happens only if another program took the port in between.
 */
const lost = new Map<string, unknown>();

function listenOptions(endpoint: EndpointAddress): ListenOptions {
  if ('path' in endpoint) return { path: endpoint.path };
  // `[::]:port` is IPv6 only, so that it can stand beside 0.0.0.0; `:port` is both.
  return { host: endpoint.host, port: endpoint.port, ipv6Only: endpoint.host?.includes(':') ?? false };
}

/** The sockets that systemd passes by this name. */
function ofSystemd(socketName: string, name: string): readonly Acceptor[] {
  const fault = (message: string, hint: string) =>
    new ProxyError('ERR_LISTEN', {
      side: 'proxy',
      message: `listeners.${name}.bind: systemd:${socketName} ${message}`,
      hint,
    });
  const sockets = takeFromSystemd(socketName, (socket) => {
    if ((socket.address() as Partial<AddressInfo>).port !== undefined) return;
    throw fault('is not a TCP socket', 'for a unix socket, bind unix:/path');
  });
  if (sockets.length > 0) return sockets.map(accept);
  throw fault(
    'was not handed over by systemd',
    `start penstock from a socket unit with FileDescriptorName=${socketName}, with no shell or npm in between`,
  );
}

/**
 * Removes a configuration's socket files that nobody answers on, left behind by a process that died. Only
 * one process may do it, and before any of them binds: two at once would remove each other's files. Throws
 * all faults together (ERR_LISTEN).
 */
export async function removeStaleSockets({ listeners }: Pick<Config, 'listeners'>): Promise<void> {
  const removals = Object.entries(listeners).flatMap(([name, { bind }]) =>
    bind.map(parseEndpoint).map(async (endpoint) => {
      if (endpoint && 'path' in endpoint) await removeStaleSocket(endpoint.path, `listeners.${name}.bind`);
    }),
  );
  const outcomes = await Promise.allSettled(removals);
  const faults = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
  if (faults.length > 0) throw new AggregateError(faults);
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

/** Why an address of this listener cannot be bound, from the system's error. */
export function listenError(address: string, name: string, cause: unknown, hint = hintOf): ProxyError {
  const code = systemCode(cause);
  const reason = socketFileReason(address, code) ?? reasons[code] ?? 'cannot be bound';
  return new ProxyError('ERR_LISTEN', {
    side: 'proxy',
    message: `listeners.${name}.bind: ${address} ${reason} (${code})`,
    hint: hint(address, code),
    cause,
  });
}

/** For two processes that bound the address at the same moment and each found the other. */
export function rivalError(address: string, name: string): ProxyError {
  const cause = Object.assign(new Error('another socket listens there'), { code: 'EADDRINUSE' });
  return listenError(address, name, cause, () => {
    const hint = hintOfUse(address);
    // The other one has given up as well.
    return hint === ownHint ? rivalHint : hint;
  });
}

function hintOf(address: string, code: string): string | undefined {
  if (code === 'EADDRINUSE') return hintOfUse(address);
  return address.startsWith('unix:') ? undefined : hints[code];
}

const rivalHint = 'another program bound it at the same moment and has gone since: start penstock again';

const ownHint =
  'penstock itself uses this port, for a listener or the admin endpoint: free it in one reload, and bind it in the next';

function hintOfUse(address: string): string | undefined {
  const endpoint = parseEndpoint(address);
  const owner = endpoint && portOwnerOf(endpoint);
  if (owner?.kind === 'other') return `${owner.name} listens there: stop it, or bind another address`;
  if (owner?.kind === 'own') return ownHint;
  return address.startsWith('unix:') ? undefined : hints.EADDRINUSE;
}

/** libuv reports EACCES for a unix socket where the system said ENOENT. */
function socketFileReason(address: string, code: string): string | undefined {
  if (!address.startsWith('unix:') || code !== 'EACCES') return undefined;
  const directory = dirname(address.slice('unix:'.length));
  return existsSync(directory)
    ? 'cannot be created there by this user'
    : 'is in a directory that does not exist';
}
