/**
 * Listening sockets that systemd hands over when it starts penstock (sd_listen_fds(3)), by the names that it gives them. The
 * supervisor keeps them open and hands them on to each worker as it starts it, so they outlive every worker. (By way of
 * `listen({fd})` node:cluster would close them with the last worker.)
 */
import cluster from 'node:cluster';
import { Socket } from 'node:net';

/** 0 to 2 are the standard streams, and workers have the channel to the supervisor in 3. */
const firstInSupervisor = 3;
const firstInWorker = 4;
const variable = 'PENSTOCK_LISTEN_FDNAMES';

/** What the supervisor starts workers with, so that they have the sockets it was given. */
export type HandOver = {
  readonly stdio: readonly ('inherit' | 'ipc' | number)[];
  readonly env: Readonly<Record<string, string>>;
};

/** Takes the sockets out of the environment, so that no other process that is started from here believes them its own. */
export function takeSockets(env: NodeJS.ProcessEnv = process.env): HandOver {
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

/** This worker's descriptors, by name. */
const descriptors = new Map<string, readonly number[]>();
if (cluster.isWorker) {
  for (const [index, name] of (process.env[variable] ?? '').split(':').entries()) {
    if (name !== '') descriptors.set(name, [...(descriptors.get(name) ?? []), firstInWorker + index]);
  }
}

/**
 * The sockets that systemd calls so, for `server.listen`; none if there are none, or if they were taken before: a descriptor
 * that was closed may be anything else by now. What `check` throws is thrown, and nothing is taken.
 */
export function takeInherited(name: string, check: (socket: Socket) => void): readonly Socket[] {
  const sockets = (descriptors.get(name) ?? []).map(
    // Neither readable nor writable: it must not be read from, being no connection.
    (fd) => new Socket({ fd, readable: false, writable: false }),
  );
  sockets.forEach(check);
  descriptors.delete(name);
  return sockets;
}
