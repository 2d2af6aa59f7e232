/** Whether TLS may start after what a NATS server says first. */
import type { Peek } from '../../peek/peek.ts';
import { noTls } from '../faults.ts';
import type { Greeting } from '../protocol.ts';
import { infoIn, readInfo } from './info.ts';

/** There is nothing to ask: a ClientHello after INFO is the request. */
export async function ask(server: Peek): Promise<Greeting> {
  const greeting = await server.read(readInfo);
  const { tls_required, tls_available } = infoIn(greeting);
  if (tls_required !== true && tls_available !== true) {
    throw noTls(
      "the server's INFO says that it has no TLS",
      'give the server a tls block, or reach it in plain text by taking tls out of the upstream',
    );
  }
  server.drop(greeting.length);
  return greeting;
}
