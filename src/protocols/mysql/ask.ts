/** Asks a MySQL server for TLS: it greets, and the answer is the request. The server does not answer that. */
import type { Peek } from '../../peek/peek.ts';
import { noTls } from '../faults.ts';
import type { Greeting } from '../protocol.ts';
import { can, needed } from './capabilities.ts';
import { greetingIn, readGreeting } from './greeting.ts';
import { encodePacket } from './packets.ts';
import { headWith } from './response.ts';

/** Without a client to ask for: what a health check says, a probe or a load test. */
export const ask = (server: Peek): Promise<Greeting> => askWith(server, ownHead);

/** The number of the packet behind the request for TLS, or behind the greeting without one. */
export const numberOfLogin = (isAsked: boolean): number => (isAsked ? 2 : 1);

/** What our own logins begin with: capabilities, 16 MiB for the largest packet, utf8mb4. */
export const ownHead: Buffer = ownHeadOf(needed | can.longPassword | can.transactions | can.longAuthData);

/** `head` is what the login within TLS will begin with; CLIENT_SSL is added to it. */
export async function askWith(server: Peek, head: Buffer): Promise<Greeting> {
  const greeting = await hear(server);
  if (!(greetingIn(greeting).capabilities & can.ssl)) {
    throw noTls(
      "the server's greeting says that it has no TLS",
      'give the server ssl_cert and ssl_key, or reach it in plain text by taking tls out of the upstream',
    );
  }
  server.write(encodePacket(1, headWith(head, head.readInt32LE(0) | can.ssl)));
  return greeting;
}

/** The greeting of a server that waits for an answer. */
export async function hear(server: Peek): Promise<Greeting> {
  const greeting = Buffer.from(await server.read(readGreeting));
  server.drop(greeting.length);
  return greeting;
}

function ownHeadOf(capabilities: number): Buffer {
  const head = Buffer.alloc(32);
  head.writeInt32LE(capabilities, 0);
  head.writeUInt32LE(1 << 24, 4);
  head.writeUInt8(45, 8);
  return head;
}
