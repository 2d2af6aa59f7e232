/**
 * PostgreSQL's CancelRequest arrives on a connection of its own, and names the session to cancel by a key
 * that only the server knows. So it goes to every endpoint where this client has sessions, and to no others.
 */
import type { Socket } from 'node:net';
import type { Session, Sessions } from '../protocol.ts';

/** In ms: how long a server may take to act on a request and close. */
const closeWithin = 5000;

type Counted<S> = { readonly session: S; count: number };

export function createSessions<S extends Session>(): Sessions<S> {
  const byClient = new Map<string, Map<object, Counted<S>>>();
  return {
    add(session, client) {
      const ofClient = byClient.get(client) ?? new Map<object, Counted<S>>();
      byClient.set(client, ofClient);
      const { endpoint } = session;
      const counted = ofClient.get(endpoint) ?? { session, count: 0 };
      ofClient.set(endpoint, counted);
      counted.count += 1;
      return () => {
        counted.count -= 1;
        if (counted.count === 0) ofClient.delete(endpoint);
        if (ofClient.size === 0) byClient.delete(client);
      };
    },
    concerned: (client) => [...(byClient.get(client)?.values() ?? [])].map(({ session }) => session),
    deliver,
  };
}

/** Waits until the server has closed, because libpq takes our own close for "done". */
function deliver(server: Socket, message: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.destroy(), closeWithin);
    server.on('error', () => server.destroy());
    server.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    // The server closes once it has the request. If it is still about to act on it, as PgBouncer may be, a
    // FIN from us would say that nobody wants the request any more.
    server.once('end', () => server.end());
    server.write(message);
    server.resume();
  });
}
