/** Chooses ports that are easy to remember, or free ones if those are taken. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { systemCode } from '../../errors.ts';

/** Listens on this port of 127.0.0.1, or on any free one if it is taken. Returns the port. */
export async function listenNear(server: Server, port: number): Promise<number> {
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  } catch (error) {
    if (systemCode(error) !== 'EADDRINUSE') throw error;
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  }
  return (server.address() as AddressInfo).port;
}

/** Finds such a port for a caller that binds it right afterwards. */
export async function freePort(port: number): Promise<number> {
  const server = createServer();
  const free = await listenNear(server, port);
  server.close();
  await once(server, 'close');
  return free;
}
