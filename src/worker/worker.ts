/** The serving part of one process: owns the listeners and the service that handles their connections. */
import type { ListenerConfig } from '../config/schema/schema.ts';
import type { ServedConfig } from '../config/transfer.ts';
import { type Cancels, createCancels } from '../connection/cancel-request.ts';
import { endConnection } from '../connection/ending.ts';
import type { Listener } from '../connection/listener.ts';
import type { Connection } from '../connection/state.ts';
import type { Quota } from '../ipc/quota.ts';
import type { AddressLimits } from '../listen/address-limits.ts';
import type { Bound } from '../listen/listener.ts';
import { LiveSet } from '../net/live-set.ts';
import { createDescriptors, type Descriptors } from '../process/descriptors.ts';
import { inSlices } from '../process/pacer.ts';
import { protocolOf } from '../protocols/table.ts';
import { createUpstreamRegistry, type UpstreamRegistry } from '../upstream/registry.ts';
import { createResolver, type Resolver } from '../upstream/resolve.ts';
import { ListeningSockets, type NewSockets } from './listening-sockets.ts';
import { endUnwelcome } from './revalidate.ts';
import { buildService, type Service, type Surroundings } from './service.ts';

/** What a worker needs from its surroundings, whether alone or one of several. */
export type Around = Pick<Surroundings, 'logger' | 'ticketMasters' | 'metrics'> & {
  /** Absent: this process keeps the health and limits of upstreams itself. */
  readonly upstreams?: UpstreamRegistry;
  /** Absent: names are resolved as the system resolves them. */
  readonly resolver?: Resolver | undefined;
  /** Absent: this worker may use all descriptors of the process. */
  readonly descriptors?: Descriptors | undefined;
  /** The count of a listener's connections, one per name, kept across reloads. */
  readonly connectionQuota: (listener: string, limit: number) => Quota;
  readonly addressLimits: (listener: string, limits: ListenerConfig['limits']) => AddressLimits | undefined;
  readonly cancelElsewhere: (
    listener: string,
    ...request: Parameters<Cancels['elsewhere']>
  ) => ReturnType<Cancels['elsewhere']>;
};

export type Worker = {
  /** What is bound, by listener: addresses as configured, but with the ports that the system chose for 0. */
  readonly bound: () => ReadonlyMap<string, readonly Bound[]>;
  /**
   * Builds the service of a configuration and binds new addresses; until `commit` nothing changes for
   * clients. If it throws an AggregateError with all faults (ERR_LISTEN, or a check of the user's own that
   * does not load), nothing has changed.
   */
  readonly prepare: (loaded: ServedConfig) => Promise<Prepared>;
  readonly listener: (name: string) => Listener | undefined;
  readonly descriptors: Pick<Descriptors, 'capacity' | 'used'>;
  /** All open connections, including those under former configurations. */
  readonly connections: () => Iterable<Connection>;
  /**
   * Stops accepting, gives open connections at most `graceMs` to end, then cuts them. Resolves with the
   * number cut. A second call shortens the grace.
   */
  readonly drain: (graceMs: number) => Promise<number>;
};

/** A configuration that is ready to replace the current one. */
export type Prepared = { readonly commit: () => void; readonly abort: () => Promise<void> };

export function createWorker(around: Around): Worker {
  const { logger } = around;
  const open = new LiveSet<Connection>();
  const descriptors = around.descriptors ?? createDescriptors();
  const surroundings = surroundingsOf(around, open, descriptors);
  const sockets = new ListeningSockets(descriptors);
  /** Shared by drains, so that two that overlap report the same number. */
  const cut = new Set<Connection>();
  let current: Service | undefined;

  const unread = setInterval(() => {
    for (const { splice } of open.all()) splice?.check();
  }, unreadMs).unref();

  function switchTo(service: Service, added: NewSockets): void {
    const former = current;
    current = service;
    added.commit();
    former?.retire();
    service.openWarm();
    void endUnwelcome(open.all(), {
      listeners: new Map(service.listeners.map((listener) => [listener.name, listener])),
      isCurrent: () => current === service,
      end: (connection, reason) => endConnection(connection, 'ERR_CLOSED_ON_CHANGE', reason),
      logger,
    });
  }

  return {
    connections: open.all.bind(open),
    descriptors,
    listener: (name) => current?.listeners.find((listener) => listener.name === name),
    bound: () => sockets.boundBy(current?.listeners ?? []),
    async prepare(loaded) {
      const service = await inSlices(buildService(loaded, surroundings, current));
      try {
        await service.ready();
        const added = await sockets.bindNew(service.listeners);
        return {
          commit: () => switchTo(service, added),
          abort: () => added.abort().then(service.close),
        };
      } catch (error) {
        await service.close();
        throw error;
      }
    },
    async drain(graceMs) {
      const closed = sockets.close();
      current?.closeWarm();
      await ended(open, graceMs, cut);
      clearInterval(unread);
      await closed;
      await current?.close();
      return cut.size;
    },
  };
}

/**
 * How often we look for clients that do not read. At the rate at which TLS can answer, a worker grows by 20
 * MB in that time.
 */
const unreadMs = 5000;

/**
 * Includes what each listener keeps when its rules change: the counts of its limits, and the sessions a
 * CancelRequest may reach.
 */
function surroundingsOf(around: Around, open: LiveSet<Connection>, descriptors: Descriptors): Surroundings {
  const cancels = new Map<string, Cancels | undefined>();
  return {
    ...around,
    open,
    upstreams: around.upstreams ?? createUpstreamRegistry({ logger: around.logger }),
    resolver: around.resolver ?? createResolver({ logger: around.logger }),
    descriptors,
    countsOf: (listener, limits) => ({
      connections: around.connectionQuota(listener, limits.connections),
      byAddress: around.addressLimits(listener, limits),
    }),
    cancelsOf(listener, starttls) {
      const key = `${starttls} ${listener}`;
      const known =
        cancels.get(key) ??
        createCancels(protocolOf(starttls), (...request) => around.cancelElsewhere(listener, ...request));
      cancels.set(key, known);
      return known;
    },
  };
}

/** Resolves when no connection is left; adds those that had to be cut to `cut`. */
async function ended(connections: LiveSet<Connection>, graceMs: number, cut: Set<Connection>): Promise<void> {
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
