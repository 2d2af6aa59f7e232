/**
 * What comes before TLS on a connection that penstock opens: to an upstream, or for a
 * check, a probe or a load test.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { ProxyError } from '../errors.ts';
import { Peek } from '../peek/peek.ts';
import type { Greeting, Protocol } from './protocol.ts';

/**
 * Asks the server for TLS; afterwards the socket is paused, and ready for a ClientHello. Throws what
 * `ask` throws, ERR_UPSTREAM_CONNECT if the server hangs up, and ERR_UPSTREAM_STARTTLS_INVALID if it
 * sends more than its answer, because such plain text would be taken for protected (CVE-2021-23222). The
 * caller keeps the socket, and its clock. `name`: see `Ask`.
 */
export async function askForTls(
  { ask, title, carrier }: Pick<Protocol, 'ask' | 'title' | 'carrier'>,
  raw: Socket,
  name: string | undefined,
): Promise<Asked> {
  const greeting = await beforeTls(raw, title, (server) => ask(server, name));
  return { greeting, socket: carrier ? carrier.over(raw) : raw };
}

/** `socket` is what TLS is to be spoken over: the very socket, or what carries TLS in it. */
export type Asked = { readonly greeting: Greeting | undefined; readonly socket: Duplex };

/** The same for a client that is passed through, whose own ClientHello follows. */
export async function beforeTls<T>(
  raw: Socket,
  title: string,
  talk: (server: Peek) => Promise<T>,
): Promise<T> {
  const server = new Peek(raw, 'upstream');
  const answer = await talk(server);
  if (server.length > 0) {
    throw new ProxyError('ERR_UPSTREAM_STARTTLS_INVALID', {
      side: 'upstream',
      message: 'the server sent bytes between its answer and the TLS handshake',
      hint: `check that the endpoint is a ${title} server, and what is between it and penstock`,
    });
  }
  server.release();
  return answer;
}
