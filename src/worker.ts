/** One process's part of serving: it owns the listeners and the service that connections are handed to. */
import type { Logger } from 'pino';
import type { LoadedConfig } from './config/load.ts';
import { endConnection, serveConnection } from './connection.ts';
import { ProxyError } from './errors.ts';
import { createDescriptorBudget } from './listen/descriptors.ts';
import { type Bound, bind } from './listen/listener.ts';
import { buildService, type Service } from './service.ts';
import { createTicketMaster } from './tls/tickets.ts';

export type Worker = {
  /** What is bound, by listener: addresses as configured, with the ports that the system chose where 0 was asked for. */
  readonly bound: ReadonlyMap<string, readonly Bound[]>;
  /**
   * Takes no new connections, lets open ones end by themselves for at most `graceMs`, then ends them. Resolves with the
   * number of those that were cut.
   */
  readonly drain: (graceMs: number) => Promise<number>;
};

/** Starts serving. Rejects with every listener's fault at once (ERR_LISTEN), or if a check of the user's does not load. */
export async function startWorker(loaded: LoadedConfig, logger: Logger): Promise<Worker> {
  const service = buildService(loaded, {
    logger,
    ticketMaster: createTicketMaster(),
    descriptors: createDescriptorBudget(),
  });
  try {
    await service.ready();
    const bound = await listenAll(service);
    return { bound, drain: (graceMs) => drain(service, bound, graceMs) };
  } catch (error) {
    await service.close();
    throw error;
  }
}

async function listenAll(service: Service): Promise<Map<string, Bound[]>> {
  const bound = new Map<string, Bound[]>();
  const faults: unknown[] = [];
  for (const listener of service.listeners) {
    const { name, config } = listener;
    const options = { name, keepalive: config.timeouts.keepalive };
    const outcomes = await Promise.allSettled(
      config.bind.map((address) =>
        bind(address, options, (socket) => void serveConnection(socket, listener)),
      ),
    );
    bound.set(
      name,
      outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : [])),
    );
    faults.push(...outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : [])));
  }
  if (faults.length === 0) return bound;
  await Promise.all([...bound.values()].flat().map((it) => it.close()));
  throw new AggregateError(faults, faults.map((fault) => (fault as Error).message).join('\n'));
}

async function drain(service: Service, bound: Worker['bound'], graceMs: number): Promise<number> {
  const closed = Promise.all([...bound.values()].flat().map((it) => it.close()));
  let cut = 0;
  const endAll = () => {
    for (const { open } of service.listeners) {
      for (const connection of open) {
        cut += 1;
        endConnection(connection, 'ERR_SHUTDOWN', `the proxy is stopping; it waited ${graceMs} ms`);
      }
    }
  };
  const timer = graceMs === Number.POSITIVE_INFINITY ? undefined : setTimeout(endAll, graceMs);
  // A server has closed when its last client has; the upstream's side, and so the line in the log, may take longer.
  await closed;
  while (service.listeners.some(({ open }) => open.size > 0)) await nextTurn();
  clearTimeout(timer);
  await service.close();
  return cut;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 10));
}

/** The faults that kept a worker from starting, one a line. */
export function describeStartFaults(error: unknown): string[] {
  const faults = error instanceof AggregateError ? error.errors : [error];
  return faults.map((fault) => {
    if (!(fault instanceof ProxyError)) return String((fault as Error)?.message ?? fault);
    return fault.hint ? `${fault.message}; ${fault.hint}` : fault.message;
  });
}
