/** One process's part of serving: it owns the listeners and the service that connections are handed to. */
import type { Socket as RawSocket } from 'node:net';
import type { LoadedConfig } from '../config/load.ts';
import type { ListenerConfig } from '../config/schema/schema.ts';
import { covers, parseEndpoint } from '../config/schema/values.ts';
import { type CancelRegistry, createCancelRegistry } from '../connection/cancel-request.ts';
import { endConnection, serveConnection } from '../connection/connection.ts';
import type { Listener } from '../connection/listener.ts';
import type { Connection } from '../connection/state.ts';
import { ProxyError } from '../errors.ts';
import type { Quota } from '../ipc/quota.ts';
import type { AddressLimits } from '../listen/address-limits.ts';
import { socketKey } from '../listen/inherited.ts';
import { type Bound, bind } from '../listen/listener.ts';
import { normalizeAddress } from '../net/address.ts';
import { Roster } from '../net/live-set.ts';
import { createDescriptors, type Descriptors } from '../process/descriptors.ts';
import { inSlices } from '../process/pacer.ts';
import { createUpstreamRegistry, type UpstreamRegistry } from '../upstream/registry.ts';
import { createResolver, type Resolver } from '../upstream/resolve.ts';
import { endUnwelcome } from './revalidate.ts';
import { buildService, type Service, type Surroundings } from './service.ts';

/** What a worker needs of the world around it: alone, or one among several. */
export type Around = Pick<Surroundings, 'logger' | 'ticketMasters' | 'metrics'> & {
  /** Absent: the health and limits of upstreams are this process's own affair. */
  readonly upstreams?: UpstreamRegistry;
  /** Absent: names are resolved as the system does it. */
  readonly resolver?: Resolver | undefined;
  /** Absent: all that the process may have open is for this worker. */
  readonly descriptors?: Descriptors | undefined;
  /** The count of a listener's connections; one for each name, for good. */
  readonly connectionQuota: (listener: string, limit: number) => Quota;
  readonly addressLimits: (listener: string, limits: ListenerConfig['limits']) => AddressLimits | undefined;
  readonly cancelElsewhere: (
    listener: string,
    ...request: Parameters<CancelRegistry['elsewhere']>
  ) => Promise<number>;
};

export type Worker = {
  /** What is bound, by listener: addresses as configured, with the ports that the system chose where 0 was asked for. */
  readonly bound: () => ReadonlyMap<string, readonly Bound[]>;
  /**
   * Builds the service of a configuration and binds what is new; until `commit` nothing changes for clients. Throws an
   * AggregateError of all faults (ERR_LISTEN, or a check of the user's that does not load), and then changed nothing.
   */
  readonly prepare: (loaded: LoadedConfig) => Promise<Prepared>;
  readonly listener: (name: string) => Listener | undefined;
  /** Everything being served, under former configurations too. */
  readonly connections: () => Iterable<Connection>;
  /**
   * Takes no new connections, lets open ones end by themselves for at most `graceMs`, then ends them. Resolves with the
   * number of those that were cut. Called again, it shortens the grace.
   */
  readonly drain: (graceMs: number) => Promise<number>;
};

/** A configuration that is ready to be served, in place of the one before. */
export type Prepared = { readonly commit: () => void; readonly abort: () => Promise<void> };

/** Without a listener it turns clients away. */
type Socket = { readonly bound: Bound; listener: Listener | undefined };

export function createWorker(around: Around): Worker {
  const cancels = new Map<string, CancelRegistry>();
  const open = new Roster<Connection>();
  const descriptors = around.descriptors ?? createDescriptors();
  const surroundings: Surroundings = {
    ...around,
    open,
    upstreams: around.upstreams ?? createUpstreamRegistry({ logger: around.logger }),
    resolver: around.resolver ?? createResolver(),
    descriptors,
    countsOf: (listener, limits) => ({
      connections: around.connectionQuota(listener, limits.connections),
      byAddress: around.addressLimits(listener, limits),
    }),
    cancelsOf(listener) {
      const registry =
        cancels.get(listener) ??
        createCancelRegistry((...request) => around.cancelElsewhere(listener, ...request));
      cancels.set(listener, registry);
      return registry;
    },
  };
  /** By `keyOf`: an address stays bound while the configuration names it, whoever serves it. */
  const sockets = new Map<string, Socket>();
  /** By drains: two that overlap tell the same number. */
  const cut = new Set<Connection>();
  let current: Service | undefined;
  let countedSockets = 0;

  /** Those that were handed over were open before anything was counted. */
  function countSockets(): void {
    const open = [...sockets.values()].filter(({ bound }) => !bound.inherited).length;
    descriptors.claim(open - countedSockets);
    countedSockets = open;
  }

  const unread = setInterval(() => {
    for (const { splice } of open.all()) splice?.check();
  }, unreadMs).unref();

  return {
    connections: open.all.bind(open),
    listener: (name) => current?.listeners.find((listener) => listener.name === name),
    bound: () => boundByListener(current, sockets),
    async prepare(loaded) {
      const service = await inSlices(buildService(loaded, surroundings, current));
      const added = new Map<string, Socket>();
      const giveUp = async () => {
        sendBack(added, sockets);
        await dropAll(added, sockets);
        await service.close();
      };
      try {
        await service.ready();
        await bindNew(service, sockets, added);
      } catch (error) {
        await giveUp();
        throw error;
      }
      return {
        commit() {
          const former = current;
          current = service;
          switchTo(service, sockets, added);
          countSockets();
          former?.retire();
          void endUnwelcome(open.all(), {
            listeners: new Map(service.listeners.map((listener) => [listener.name, listener])),
            isCurrent: () => current === service,
            end: (connection, reason) => endConnection(connection, 'ERR_CLOSED_ON_CHANGE', reason),
            logger: around.logger,
          });
        },
        abort: giveUp,
      };
    },
    async drain(graceMs) {
      const closed = Promise.all([...sockets.values()].map(({ bound }) => bound.close()));
      await ended(open, graceMs, cut);
      clearInterval(unread);
      await closed;
      await current?.close();
      return cut.size;
    },
  };
}

/** How often it is looked for clients that do not read: at the rate at which TLS answers, a worker grows by 20 MB meanwhile. */
const unreadMs = 5000;

/** Binds the addresses of a service that are not bound yet, all of them or none. */
async function bindNew(
  service: Service,
  sockets: ReadonlyMap<string, Socket>,
  added: Map<string, Socket>,
): Promise<void> {
  const wanted = service.listeners.flatMap((listener) =>
    listener.config.bind
      .filter((address) => !sockets.has(keyOf(address, listener)))
      .map((address) => ({ address, listener })),
  );
  const outcomes = await Promise.allSettled(
    wanted.map(async ({ address, listener }) => {
      added.set(keyOf(address, listener), { bound: await bind(address, listener.name), listener });
    }),
  );
  const faults = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
  if (faults.length > 0) throw new AggregateError(faults, 'some addresses cannot be bound');
}

/** From one moment to the next: each socket serves its new listener, those that nobody names any more are closed. */
function switchTo(service: Service, sockets: Map<string, Socket>, added: ReadonlyMap<string, Socket>): void {
  for (const [key, socket] of added) {
    sockets.set(key, socket);
    takeClients(socket);
  }
  const listeners = new Map(
    service.listeners.flatMap((listener) =>
      listener.config.bind.map((address) => [keyOf(address, listener), listener]),
    ),
  );
  for (const [key, socket] of sockets) {
    const listener = listeners.get(key);
    if (listener) socket.listener = listener;
    else void drop(key, socket, sockets);
  }
}

function takeClients(socket: Socket): void {
  socket.bound.serve((raw) => {
    if (socket.listener) void serveConnection(raw, socket.listener);
    else raw.resetAndDestroy();
  });
}

/**
 * Nothing comes of the sockets that were added: whoever came meanwhile is served by the one that he would have reached
 * without them (a wider address, say), or turned away.
 */
function sendBack(added: ReadonlyMap<string, Socket>, sockets: ReadonlyMap<string, Socket>): void {
  for (const { bound } of added.values()) {
    for (const raw of bound.giveUp()) {
      const reached = [...sockets.values()].find((it) => it.listener && takes(it.bound, raw));
      if (reached?.listener) void serveConnection(raw, reached.listener);
      else raw.resetAndDestroy();
    }
  }
}

function takes(bound: Bound, { localAddress, localPort }: RawSocket): boolean {
  const endpoint = parseEndpoint(bound.address);
  if (endpoint === undefined || 'path' in endpoint || localAddress === undefined || !localPort) return false;
  return covers(endpoint, { host: normalizeAddress(localAddress), port: localPort });
}

/** Nobody is served there any more. A socket that was handed over stays, as a later configuration could not have it again. */
async function drop(key: string, socket: Socket, sockets: Map<string, Socket>): Promise<void> {
  if (socket.bound.inherited) {
    socket.listener = undefined;
    sockets.set(key, socket);
    takeClients(socket);
  } else {
    sockets.delete(key);
    await socket.bound.close();
  }
}

async function dropAll(dropped: ReadonlyMap<string, Socket>, sockets: Map<string, Socket>): Promise<void> {
  await Promise.all([...dropped].map(([key, socket]) => drop(key, socket, sockets)));
}

function keyOf(address: string, { name }: Listener): string {
  return socketKey(address, name);
}

/** In the order of the configuration. */
function boundByListener(
  service: Service | undefined,
  sockets: ReadonlyMap<string, Socket>,
): Map<string, Bound[]> {
  const listeners = service?.listeners ?? [];
  return new Map(
    listeners.map((listener) => [
      listener.name,
      listener.config.bind.flatMap((address) => sockets.get(keyOf(address, listener))?.bound ?? []),
    ]),
  );
}

/** Resolves when no connection is left; those that had to be ended are added to `cut`. */
async function ended(connections: Roster<Connection>, graceMs: number, cut: Set<Connection>): Promise<void> {
  const until = performance.now() + graceMs;
  for (;;) {
    for (const connection of connections.all()) {
      if (performance.now() < until || cut.has(connection)) continue;
      cut.add(connection);
      endConnection(connection, 'ERR_SHUTDOWN', `the proxy is stopping; it waited ${graceMs} ms`);
    }
    if (connections.size === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The faults that kept a worker from serving, one a line. */
export function describeStartFaults(error: unknown): string[] {
  const faults = error instanceof AggregateError ? error.errors : [error];
  return faults.map((fault) => {
    if (!(fault instanceof ProxyError)) return String((fault as Error)?.message ?? fault);
    return fault.hint ? `${fault.message}; ${fault.hint}` : fault.message;
  });
}
