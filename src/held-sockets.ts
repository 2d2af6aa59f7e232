/**
 * TCP addresses that the supervisor binds and keeps for its workers, which inherit them as they are started: then a port
 * outlives every worker, and who comes while there is none waits in the kernel's queue instead of being refused. It takes
 * net.BoundSocket (Node 26.4, and 24.19); elsewhere, and for what cannot be held, workers share what one of them binds.
 */
import * as net from 'node:net';
import type { Config } from './config/schema.ts';
import { parseEndpoint } from './config/values.ts';
import { type HandOver, socketKey, withHeld } from './listen/inherited.ts';

export type HeldSockets = {
  /** What workers are to be started with. */
  readonly handOver: () => HandOver;
  /** Lets go of addresses that a configuration does not name any more. */
  readonly keepOnly: (config: Pick<Config, 'listeners'>) => void;
  /** Nobody is to wait any more. */
  readonly close: () => void;
};

/**
 * Binds what a configuration names. One that cannot be bound is left to the workers, which tell why; so are host names, and
 * unix sockets, whose files would have to be removed by somebody.
 */
export function holdSockets(config: Pick<Config, 'listeners'>, handed: HandOver): HeldSockets {
  const held = new Map<string, net.BoundSocket>();
  for (const [key, address] of addressesOf(config)) {
    const bound = bind(address);
    if (bound) held.set(key, bound);
  }
  return {
    handOver: () => withHeld(handed, new Map([...held].map(([key, bound]) => [key, bound.fd()]))),
    keepOnly(next) {
      const wanted = addressesOf(next);
      for (const [key, bound] of held) {
        if (wanted.has(key)) continue;
        bound.close();
        held.delete(key);
      }
    },
    close() {
      for (const bound of held.values()) bound.close();
      held.clear();
    },
  };
}

function addressesOf({ listeners }: Pick<Config, 'listeners'>): Map<string, string> {
  return new Map(
    Object.entries(listeners).flatMap(([name, { bind: addresses }]) =>
      addresses.map((address): [string, string] => [socketKey(address, name), address]),
    ),
  );
}

function bind(address: string): net.BoundSocket | undefined {
  const endpoint = parseEndpoint(address);
  if (!('BoundSocket' in net) || endpoint === undefined || 'path' in endpoint) return undefined;
  const { host = '::', port } = endpoint;
  if (net.isIP(host) === 0) return undefined;
  try {
    return new net.BoundSocket({ host, port, ipv6Only: endpoint.host?.includes(':') ?? false });
  } catch {
    // The worker that tries it next says why, or finds another way.
    return undefined;
  }
}
