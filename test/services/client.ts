/** A TLS client of a few lines, for tests whose real program is at the other end. */
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';

export type Talk = {
  readonly port: number;
  readonly servername: string;
  /** Whom it trusts, in PEM. */
  readonly ca: string;
  readonly send: string;
  readonly localAddress?: string;
};

/** Sends, half-closes, and returns all that comes back. Rejects if the connection does not end well. */
export async function talk({
  port,
  servername,
  ca,
  send,
  localAddress = '127.0.0.1',
}: Talk): Promise<string> {
  const socket = connectTcp({ port, host: '127.0.0.1', localAddress, allowHalfOpen: true });
  const client = connectTls({ socket, servername, ca });
  // An early end of the TCP connection is not always an error of the TLS one.
  await once(client, 'secureConnect', { signal: endOf(socket) });
  client.end(send);
  const chunks: Buffer[] = [];
  for await (const chunk of client) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

/** Whether something listens there; throws if not. */
export async function accepts(port: number, host = '127.0.0.1'): Promise<void> {
  const socket = connectTcp(port, host);
  await once(socket, 'connect');
  socket.destroy();
}

function endOf(socket: ReturnType<typeof connectTcp>): AbortSignal {
  const ended = new AbortController();
  socket.once('close', () => ended.abort());
  return ended.signal;
}
