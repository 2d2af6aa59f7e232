/**
 * Sockets inherited from the process that started this one. The supervisor inherits sockets from systemd
 * (sd_listen_fds(3)), known by systemd's names for them. Workers inherit those, and the ones that the
 * supervisor bound itself, known by their addresses. The supervisor keeps all of them open, so they outlive
 * every worker. (With `listen({fd})`, node:cluster would close them along with the last worker.)
 */
import cluster from 'node:cluster';
import { Socket } from 'node:net';

/** 0 to 2 are the standard streams; in a worker, 3 is its channel to the supervisor. */
const firstInSupervisor = 3;
const firstInWorker = 4;
const variable = 'PENSTOCK_LISTEN_FDNAMES';
/** Never rename these: an upgrade may start workers of a newer version than the supervisor's. */
const boundVariable = 'PENSTOCK_HELD_SOCKETS';

/** How to start workers so that they inherit the supervisor's sockets. */
export type Inheritance = {
  readonly stdio: readonly ('inherit' | 'ipc' | number)[];
  readonly env: Readonly<Record<string, string>>;
};

/**
 * Removes the variables from the environment, so that no other process we start
 * takes the sockets for its own.
 */
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

/** The same, plus what the supervisor has bound: descriptors by `socketKey`. */
export function withBound({ stdio, env }: Inheritance, bound: ReadonlyMap<string, number>): Inheritance {
  // Index 3 is the channel here and in the worker, so each index is also the worker's descriptor number.
  const places = [...bound.keys()].map((key, index): [string, number] => [key, stdio.length + index]);
  return {
    stdio: [...stdio, ...bound.values()],
    env: { ...env, [boundVariable]: JSON.stringify(Object.fromEntries(places)) },
  };
}

/**
 * Identifies a socket: by its address as written. With port 0, any free port, each
 * listener has a socket of its own.
 */
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

/** This worker's descriptors of sockets that the supervisor bound, by `socketKey`. */
const fromSupervisor = new Map<string, number>(
  cluster.isWorker ? Object.entries(JSON.parse(process.env[boundVariable] ?? '{}')) : [],
);

/**
 * The socket that the supervisor bound for this worker, if any, for `server.listen`. It can be taken once.
 */
export function takeFromSupervisor(address: string, listener: string): Socket | undefined {
  const key = socketKey(address, listener);
  const fd = fromSupervisor.get(key);
  fromSupervisor.delete(key);
  return fd === undefined ? undefined : new Socket({ fd, readable: false, writable: false });
}

/**
 * The sockets to which systemd gives this name, for `server.listen`. Empty if there are none, or
 * if they were taken before: a closed descriptor may be anything by now. If `check` throws, so
 * does this, and nothing is taken.
 */
export function takeFromSystemd(name: string, check: (socket: Socket) => void): readonly Socket[] {
  const sockets = (fromSystemd.get(name) ?? []).map(
    // Neither readable nor writable: Node must not read from it, since it is no connection.
    (fd) => new Socket({ fd, readable: false, writable: false }),
  );
  sockets.forEach(check);
  fromSystemd.delete(name);
  return sockets;
}
