/**
 * The sockets that a worker listens on. An address stays bound while the configuration names it, whichever
 * listener serves it.
 */
import type { Socket } from 'node:net';
import { serveConnection } from '../connection/connection.ts';
import type { Listener } from '../connection/listener.ts';
import { socketKey } from '../listen/inherited.ts';
import { type Bound, bind } from '../listen/listener.ts';
import { normalizeAddress } from '../net/address.ts';
import { covers, parseEndpoint } from '../net/written-address.ts';
import type { Descriptors } from '../process/descriptors.ts';

/** Without a listener it refuses clients. */
type ListeningSocket = { readonly bound: Bound; listener: Listener | undefined };

type Sockets = Map<string, ListeningSocket>;

/** Bound for listeners that do not serve yet: until `commit`, clients wait. */
export type NewSockets = {
  /** Switches each socket to its new listener at once; closes those that no listener names any more. */
  readonly commit: () => void;
  readonly abort: () => Promise<void>;
};

export class ListeningSockets {
  /** By `socketKey`. */
  readonly #sockets: Sockets = new Map();
  readonly #descriptors: Descriptors;
  #counted = 0;

  constructor(descriptors: Descriptors) {
    this.#descriptors = descriptors;
  }

  /**
   * Binds all addresses of listeners that are not bound yet, or none, and then throws an AggregateError with
   * the faults (ERR_LISTEN).
   */
  async bindNew(listeners: readonly Listener[]): Promise<NewSockets> {
    const added: Sockets = new Map();
    const missing = placesOf(listeners).filter(({ key }) => !this.#sockets.has(key));
    const outcomes = await Promise.allSettled(
      missing.map(async ({ key, address, listener }) => {
        added.set(key, { bound: await bind(address, listener.name), listener });
      }),
    );
    const faults = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
    const abort = () => this.#giveUp(added);
    if (faults.length > 0) {
      await abort();
      throw new AggregateError(faults, 'some addresses cannot be bound');
    }
    return { commit: () => this.#switchTo(listeners, added), abort };
  }

  /** The bound sockets by listener, in the order of the configuration. */
  boundBy(listeners: readonly Listener[]): Map<string, Bound[]> {
    return new Map(
      listeners.map((listener) => [
        listener.name,
        placesOf([listener]).flatMap(({ key }) => this.#sockets.get(key)?.bound ?? []),
      ]),
    );
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sockets.values()].map(({ bound }) => bound.close()));
  }

  #switchTo(listeners: readonly Listener[], added: Sockets): void {
    for (const [key, socket] of added) {
      this.#sockets.set(key, socket);
      takeClients(socket);
    }
    const next = new Map(placesOf(listeners).map(({ key, listener }) => [key, listener]));
    for (const [key, socket] of this.#sockets) {
      const listener = next.get(key);
      if (listener) socket.listener = listener;
      else void this.#drop(key, socket);
    }
    this.#count();
  }

  /**
   * Abandons the sockets that were added. Clients that connected meanwhile are served by the socket they
   * would have reached otherwise (a wider address, say), or refused.
   */
  async #giveUp(added: Sockets): Promise<void> {
    for (const { bound } of added.values()) {
      for (const raw of bound.giveUp()) {
        const reached = [...this.#sockets.values()].find((it) => it.listener && takes(it.bound, raw));
        if (reached?.listener) void serveConnection(raw, reached.listener);
        else raw.resetAndDestroy();
      }
    }
    await Promise.all([...added].map(([key, socket]) => this.#drop(key, socket)));
  }

  /**
   * Stops serving there. A socket from systemd stays open, since a later configuration could not get it
   * again.
   */
  async #drop(key: string, socket: ListeningSocket): Promise<void> {
    if (socket.bound.fromSystemd) {
      socket.listener = undefined;
      this.#sockets.set(key, socket);
      takeClients(socket);
    } else {
      this.#sockets.delete(key);
      await socket.bound.close();
    }
  }

  /** Sockets from systemd were open before anything was counted. */
  #count(): void {
    const open = [...this.#sockets.values()].filter(({ bound }) => !bound.fromSystemd).length;
    this.#descriptors.claim(open - this.#counted);
    this.#counted = open;
  }
}

function placesOf(listeners: readonly Listener[]) {
  return listeners.flatMap((listener) =>
    listener.config.bind.map((address) => ({ key: socketKey(address, listener.name), address, listener })),
  );
}

function takeClients(socket: ListeningSocket): void {
  socket.bound.serve((raw) => {
    if (socket.listener) void serveConnection(raw, socket.listener);
    else raw.resetAndDestroy();
  });
}

function takes(bound: Bound, { localAddress, localPort }: Socket): boolean {
  const endpoint = parseEndpoint(bound.address);
  if (endpoint === undefined || 'path' in endpoint || localAddress === undefined || !localPort) return false;
  return covers(endpoint, { host: normalizeAddress(localAddress), port: localPort });
}
