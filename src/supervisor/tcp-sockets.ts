/**
 * The addresses that workers accept on. The supervisor binds them, at the start and in a reload, and workers inherit or are
 * sent the sockets: so a port outlives every worker (whoever comes while there is none waits in the kernel's queue), and an
 * address that cannot be had never gets as far as a worker. Unix sockets are shared by node:cluster instead.
 *
 * It takes net.BoundSocket (Node 26.4, and 24.19). Without it an address is tried here, let go of, and left to node:cluster.
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
  /** What workers are to be started with. */
  readonly inheritance: () => Inheritance;
  /** Binds what a configuration names and is not bound yet. Throws an AggregateError of every fault (ERR_LISTEN), or all is bound. */
  readonly reserve: (loaded: SendableConfig) => Promise<Reservation>;
  /** Nobody is to wait any more. */
  readonly close: () => void;
};

export type Reservation = {
  /** What workers are to serve: the configuration, with the addresses that stay bound beside wider ones. */
  readonly loaded: SendableConfig;
  /** To be sent to workers that run already. */
  readonly added: ReadonlyMap<string, Socket>;
  /** To be asked once workers listen: faults where somebody else listens at the very same address, too. */
  readonly rivals: () => readonly string[];
  /** Lets go of addresses that the configuration does not name any more. */
  readonly keep: () => void;
  /** Lets go of what was added. */
  readonly release: () => void;
};

type BoundPlace = {
  readonly listener: string;
  /** As configured. */
  readonly address: string;
  /** Without names: what is bound. */
  readonly endpoint: TcpEndpoint;
  /** Absent: workers bind it. */
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

/** Those of TCP, by `socketKey`. */
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
 * An address stays bound beside a wider one that takes its place: whoever connects to it gets to the narrower socket, and with
 * it those would be reset who wait in its queue. It serves the listener that has the wider one.
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
