/**
 * NATS: the server speaks first, by a line of JSON called INFO. Where that says so, the client begins TLS behind it, unasked. Clients and
 * servers may agree on TLS first instead; then INFO comes within it. https://docs.nats.io, "Client Protocol".
 */
import { ProxyError } from '../../errors.ts';
import type { Peek } from '../../peek/peek.ts';
import type { Greeting, Protocol } from '../protocol.ts';
import { ask } from './ask.ts';
import { infoIn, readInfo } from './info.ts';
import { meet } from './meeting.ts';

export const nats: Protocol = {
  title: 'NATS',
  alpn: [],
  saysInstead: /^INFO \{/,
  tlsHint: 'have the client connect to tls://…, with the CA that it is to trust',
  meet,
  ask,
  hear,
  check: {
    passesIf: 'its INFO has come, and does not say that it is about to stop',
    async run(server, greeting) {
      const { ldm } = infoIn(greeting ?? (await hear(server)));
      // Lame duck mode.
      if (ldm === true) throw down('the server is about to stop: it is in lame duck mode');
      return undefined;
    },
  },
};

/** What comes behind INFO is payload. */
async function hear(server: Peek): Promise<Greeting> {
  const info = await server.read(readInfo);
  server.drop(info.length);
  return info;
}

function down(message: string): ProxyError {
  return new ProxyError('ERR_UPSTREAM_DOWN', { side: 'upstream', message });
}
