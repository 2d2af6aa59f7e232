/** A listening socket, and the connections that arrived before anybody could serve them. */
import { createServer, type ListenOptions, type Server, type Socket } from 'node:net';

export type Acceptor = {
  readonly server: Server;
  /** Rejects with the system's error. */
  readonly listening: Promise<void>;
  /** From now on gets every connection, first of all those that were waiting. */
  readonly serve: (onConnection: (socket: Socket) => void) => void;
  /** Hands the waiting connections to the caller; later ones are turned away. */
  readonly giveUp: () => readonly Socket[];
  /** Stops accepting; open connections stay open. Resolves when the socket is closed. */
  readonly close: () => Promise<void>;
};

/** The same as systemd's default. The kernel caps it at net.core.somaxconn. */
const backlog = 4096;
/** How many connections may wait until all workers have taken a configuration, or it is given up. */
const maxEarly = 1000;

/**
 * Listens at once. Sockets arrive the way the peek needs them: paused, with no delay, and not half-open until
 * they are established, since a FIN during the handshake must end the connection.
 */
export function accept(target: ListenOptions | Socket): Acceptor {
  let take: ((socket: Socket) => void) | undefined;
  let early: Socket[] | undefined = [];
  const isUnix = 'path' in target && target.path !== undefined;
  const server = createServer({ noDelay: true, pauseOnConnect: true }, (socket) => {
    // A TCP client that has already left has no address, and must not be mistaken for one on a unix socket.
    if (!isUnix && socket.remoteAddress === undefined) socket.destroy();
    else if (take) take(socket);
    else if (early && early.length < maxEarly) early.push(socket);
    else socket.resetAndDestroy();
  });
  const listening = new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(target, backlog, () => {
      server.off('error', reject);
      resolve();
    });
  });
  // A caller that needs the outcome awaits it; here it only must not count as unhandled.
  listening.catch(() => {});
  const giveUp = () => {
    const left = early ?? [];
    early = undefined;
    return left;
  };
  return {
    server,
    listening,
    serve(onConnection) {
      take = onConnection;
      for (const socket of giveUp()) onConnection(socket);
    },
    giveUp,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
