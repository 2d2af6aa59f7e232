/**
 * The addresses that workers accept on. The supervisor binds them, at the start and in a reload, and workers
 * inherit the sockets or receive them in messages. So a port outlives every worker (clients that connect
 * while there is none wait in the kernel's queue), and an address that cannot be bound never reaches a
 * worker. node:cluster shares unix sockets instead.
 *
 * This needs net.BoundSocket (Node 26.4, and 24.19). Without it the address is bound here as a test,
 * released, and left to node:cluster.
 */
import { lookup } from 'node:dns/promises';
import { isIP, type Socket } from 'node:net';
import type { Config } from '../config/schema/schema.ts';
import type { SendableConfig } from '../config/transfer.ts';
import { type BoundTcp, bindSocket, canBindForOthers, isShared } from '../listen/bound-socket.ts';
import { type Inheritance, socketKey, withBound } from '../listen/inherited.ts';
import { bind, listenError, rivalError } from '../listen/listener.ts';
import { covers, parseEndpoint, type TcpEndpoint } from '../net/written-address.ts';
import { describeStartFaults } from '../worker/start-faults.ts';

export type TcpSockets = {
  /** What new workers inherit. */
  readonly inheritance: () => Inheritance;
  /**
   * Binds all addresses of a configuration that are not bound yet, or throws an AggregateError with every
   * fault (ERR_LISTEN).
   */
  readonly reserve: (loaded: SendableConfig) => Promise<Reservation>;
  /** Closes all, so that clients no longer wait. */
  readonly close: () => void;
};

export type Reservation = {
  /** The configuration for workers, including addresses that stay bound beside wider ones. */
  readonly loaded: SendableConfig;
  /** New sockets, to be sent to workers that are already running. */
  readonly added: ReadonlyMap<string, Socket>;
  /** To be called once workers listen: faults for addresses where another program listens too. */
  readonly rivals: () => readonly string[];
  /** Releases addresses that the configuration no longer names. */
  readonly keep: () => void;
  /** Releases what was added. */
  readonly release: () => void;
};

type BoundPlace = {
  readonly listener: string;
  /** As configured. */
  readonly address: string;
  /** The address that is bound, with names resolved. */
  readonly endpoint: TcpEndpoint;
  /** Absent if workers bind it. */
  readonly bound: BoundTcp | undefined;
};

export function createTcpSockets(own: Inheritance): TcpSockets {
  const places = new Map<string, BoundPlace>();

  function letGo(key: string): void {
    places.get(key)?.bound?.socket.destroy();
    places.delete(key);
  }

  return {
    inheritance() {
      const fds = [...places].flatMap(([key, { bound }]): [string, number][] =>
        bound ? [[key, bound.fd]] : [],
      );
      return withBound(own, new Map(fds));
    },
    async reserve(loaded) {
      const wanted = addressesOf(loaded.config);
      const missing = [...wanted].filter(([key]) => !places.has(key));
      const earlier = [...places.values()];
      const outcomes = await Promise.allSettled(
        missing.map(async ([key, place]) => void places.set(key, await bindPlace(place, earlier))),
      );
      const release = () => {
        for (const [key] of missing) letGo(key);
      };
      const faults = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
      if (faults.length > 0) {
        release();
        throw new AggregateError(faults, 'some addresses cannot be bound');
      }
      const added = [...places].filter(([key]) => missing.some(([one]) => one === key));
      const kept = withNarrower(
        loaded,
        [...places].filter(([key]) => !wanted.has(key)).map(([, it]) => it),
      );
      return {
        loaded: kept,
        added: new Map(added.flatMap(([key, { bound: it }]) => (it ? [[key, it.socket]] : []))),
        rivals: () => added.flatMap(([, it]) => (it.bound && isShared(it.bound) ? faultOf(it) : [])),
        keep() {
          const named = addressesOf(kept.config);
          for (const key of [...places.keys()].filter((one) => !named.has(one))) letGo(key);
        },
        release,
      };
    },
    close() {
      for (const key of [...places.keys()]) letGo(key);
    },
  };
}

type ListenerAddress = { readonly listener: string; readonly address: string };

/** The TCP addresses, by `socketKey`. */
function addressesOf({ listeners }: Pick<Config, 'listeners'>): Map<string, ListenerAddress> {
  return new Map(
    Object.entries(listeners).flatMap(([listener, { bind: addresses }]) =>
      addresses
        .filter((address) => tcpEndpoint(address) !== undefined)
        .map((address): [string, ListenerAddress] => [socketKey(address, listener), { listener, address }]),
    ),
  );
}

function tcpEndpoint(address: string): TcpEndpoint | undefined {
  const endpoint = parseEndpoint(address);
  return endpoint && 'port' in endpoint ? endpoint : undefined;
}

/**
 * An address stays bound beside a wider one that replaces it, and then serves the listener of the wider one:
 * clients that connect to it reach the narrower socket, and closing that would reset those waiting in its
 * queue.
 */
function withNarrower(loaded: SendableConfig, leaving: readonly BoundPlace[]): SendableConfig {
  const listeners = Object.entries(loaded.config.listeners).map(([name, listener]) => {
    const wide = listener.bind.flatMap((address) => tcpEndpoint(address) ?? []);
    const narrower = leaving.filter(
      ({ endpoint }) => endpoint.port !== 0 && wide.some((it) => covers(it, endpoint)),
    );
    const bind = [...listener.bind, ...narrower.map(({ address }) => address)];
    return [name, { ...listener, bind }] as const;
  });
  return { ...loaded, config: { ...loaded.config, listeners: Object.fromEntries(listeners) } };
}

/** Throws ProxyError ERR_LISTEN. */
async function bindPlace(
  { listener, address }: ListenerAddress,
  earlier: readonly BoundPlace[],
): Promise<BoundPlace> {
  if (!canBindForOthers) {
    const trial = await bind(address, listener);
    for (const socket of trial.giveUp()) socket.resetAndDestroy();
    await trial.close();
  }
  try {
    const endpoint = await resolved(tcpEndpoint(address) as TcpEndpoint); // addressesOf has looked
    if (!canBindForOthers) return { listener, address, endpoint, bound: undefined };
    const isOurs = earlier.some((it) => covers(it.endpoint, endpoint) || covers(endpoint, it.endpoint));
    return { listener, address, endpoint, bound: bindSocket(endpoint, isOurs) };
  } catch (error) {
    throw listenError(address, listener, error);
  }
}

async function resolved({ host, port }: TcpEndpoint): Promise<TcpEndpoint> {
  if (host === undefined || isIP(host) !== 0) return { host, port };
  return { host: (await lookup(host)).address, port };
}

function faultOf({ address, listener }: ListenerAddress): string[] {
  return describeStartFaults(rivalError(address, listener));
}
