/** Upstreams that die and come back at the same address. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

export type Mortal = {
  readonly port: number;
  /** `127.0.0.1:PORT` */
  readonly address: string;
  /** Connections so far. */
  readonly accepted: number;
  readonly open: ReadonlySet<Socket>;
  /** Stops listening; open connections go on. */
  readonly die: () => void;
  readonly comeBack: () => Promise<void>;
};

/** Echoes unless told otherwise, and half-closes after its client. It is gone for good after the test. */
export async function mortalUpstream(
  t: Pick<TestContext, 'after'>,
  onConnection: (socket: Socket) => void = echo,
  host = '127.0.0.1',
): Promise<Mortal> {
  const open = new Set<Socket>();
  let accepted = 0;
  let server: Server | undefined;
  const listen = async (port: number): Promise<number> => {
    const current = createServer({ allowHalfOpen: true }, (socket) => {
      accepted += 1;
      open.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => open.delete(socket));
      onConnection(socket);
    }).listen(port, host);
    server = current;
    await once(current, 'listening');
    return (current.address() as AddressInfo).port;
  };
  const port = await listen(0);
  t.after(() => {
    server?.close();
    for (const socket of open) socket.destroy();
  });
  return {
    port,
    address: `${host}:${port}`,
    open,
    get accepted() {
      return accepted;
    },
    die: () => void server?.close(),
    comeBack: async () => void (await listen(port)),
  };
}

/** Sends everything back. */
export function echo(socket: Socket): void {
  socket.on('data', (chunk) => socket.write(chunk));
  socket.on('end', () => socket.end());
}
