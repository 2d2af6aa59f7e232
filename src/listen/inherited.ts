/**
 * Inherited sockets: those that a process has from the one that started it, which had them bound. The supervisor inherits from
 * systemd (sd_listen_fds(3)), by the names that systemd gives them; workers inherit these, and what the supervisor has bound by
 * itself, by their addresses. The supervisor keeps them open, so they outlive every worker. (By way of `listen({fd})`
 * node:cluster would close them with the last worker.)
 */
import cluster from 'node:cluster';
import { Socket } from 'node:net';

/** 0 to 2 are the standard streams, and workers have the channel to the supervisor in 3. */
const firstInSupervisor = 3;
const firstInWorker = 4;
const variable = 'PENSTOCK_LISTEN_FDNAMES';
/** Workers that an upgrade starts may be of a later version than the supervisor: these names stay. */
const boundVariable = 'PENSTOCK_HELD_SOCKETS';

/** What workers are started with, so that they inherit the supervisor's sockets. */
export type Inheritance = {
  readonly stdio: readonly ('inherit' | 'ipc' | number)[];
  readonly env: Readonly<Record<string, string>>;
};

/** Takes them out of the environment, so that no other process that is started from here believes them its own. */
export function inheritFromSystemd(env: NodeJS.ProcessEnv = process.env): Inheritance {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = env;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete env[name];
  const count = Number(LISTEN_PID) === process.pid ? Number(LISTEN_FDS) || 0 : 0;
  const given = LISTEN_FDNAMES.split(':');
  const names = Array.from({ length: count }, (_, index) => given[index] || 'unknown');
  return {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc', ...names.map((_, index) => firstInSupervisor + index)],
    env: count > 0 ? { [variable]: names.join(':') } : {},
  };
}

/** The same, with what the supervisor has bound: descriptors by `socketKey`. */
export function withBound({ stdio, env }: Inheritance, bound: ReadonlyMap<string, number>): Inheritance {
  // The channel is in 3 as in a worker, so what is at an index here is in that descriptor there.
  const places = [...bound.keys()].map((key, index): [string, number] => [key, stdio.length + index]);
  return {
    stdio: [...stdio, ...bound.values()],
    env: { ...env, [boundVariable]: JSON.stringify(Object.fromEntries(places)) },
  };
}

/** What tells a socket from all others: its address as written; with port 0, any free one, each listener has its own. */
export function socketKey(address: string, listener: string): string {
  return address.endsWith(':0') ? `${listener} ${address}` : address;
}

/** This worker's descriptors of systemd's sockets, by name. */
const fromSystemd = new Map<string, readonly number[]>();
if (cluster.isWorker) {
  for (const [index, name] of (process.env[variable] ?? '').split(':').entries()) {
    if (name !== '') fromSystemd.set(name, [...(fromSystemd.get(name) ?? []), firstInWorker + index]);
  }
}

/** Those of what the supervisor has bound, by `socketKey`. */
const fromSupervisor = new Map<string, number>(
  cluster.isWorker ? Object.entries(JSON.parse(process.env[boundVariable] ?? '{}')) : [],
);

/** What the supervisor has bound for this worker, if it has, for `server.listen`; once. */
export function takeFromSupervisor(address: string, listener: string): Socket | undefined {
  const key = socketKey(address, listener);
  const fd = fromSupervisor.get(key);
  fromSupervisor.delete(key);
  return fd === undefined ? undefined : new Socket({ fd, readable: false, writable: false });
}

/**
 * The sockets that systemd calls so, for `server.listen`; none if there are none, or if they were taken before: a descriptor
 * that was closed may be anything else by now. What `check` throws is thrown, and nothing is taken.
 */
export function takeFromSystemd(name: string, check: (socket: Socket) => void): readonly Socket[] {
  const sockets = (fromSystemd.get(name) ?? []).map(
    // Neither readable nor writable: it must not be read from, being no connection.
    (fd) => new Socket({ fd, readable: false, writable: false }),
  );
  sockets.forEach(check);
  fromSystemd.delete(name);
  return sockets;
}
