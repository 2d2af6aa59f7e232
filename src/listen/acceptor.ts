/** A socket that listens, and those who came before anybody could take them. */
import { createServer, type ListenOptions, type Server, type Socket } from 'node:net';

export type Acceptor = {
  readonly server: Server;
  /** Rejects with the system's error. */
  readonly listening: Promise<void>;
  /** It gets every connection from now on, those first that have waited. */
  readonly serve: (onConnection: (socket: Socket) => void) => void;
  /** Hands the sockets that wait for `serve` to the caller; later ones are turned away. */
  readonly giveUp: () => readonly Socket[];
  /** Stops accepting; open connections stay open. Resolves when the socket is closed. */
  readonly close: () => Promise<void>;
};

/** systemd's default too; the kernel cuts it to net.core.somaxconn. */
const backlog = 4096;
/** Who may wait until a configuration is taken by all workers, or given up. */
const maxEarly = 1000;

/**
 * Listens at once. Sockets arrive as they should be for the peek: paused, no delay, not half-open until they are established
 * (a FIN in mid-handshake must end it).
 */
export function accept(target: ListenOptions | Socket): Acceptor {
  let take: ((socket: Socket) => void) | undefined;
  let early: Socket[] | undefined = [];
  const isUnix = 'path' in target && target.path !== undefined;
  const server = createServer({ noDelay: true, pauseOnConnect: true }, (socket) => {
    // A TCP client that has gone already has no address any more, and must not pass for one on a unix socket.
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
  // Who has to know awaits it.
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
