/**
 * NATS: the server speaks first, with a line of JSON called INFO. If INFO says so, the client starts TLS
 * right after it, without asking. Alternatively, clients and servers may be configured to start with TLS;
 * INFO then comes inside it. https://docs.nats.io, "Client Protocol".
 */
import type { Peek } from '../../peek/peek.ts';
import { unhealthy } from '../faults.ts';
import type { Greeting, Protocol } from '../protocol.ts';
import { ask } from './ask.ts';
import { infoIn, readInfo } from './info.ts';
import { meet } from './meeting.ts';

export const nats: Protocol = {
  title: 'NATS',
  alpn: [],
  saysInstead: /^INFO \{/,
  told: 'read an INFO of ours, unless they begin with TLS within 50 ms',
  tlsHint: 'have the client connect to tls://…, with the CA that it should trust',
  meet,
  ask,
  hear,
  check: {
    passesIf: 'its INFO has come, and does not say that it is about to stop',
    async run(server, greeting) {
      const { ldm } = infoIn(greeting ?? (await hear(server)));
      // "Lame duck mode".
      if (ldm === true) throw unhealthy('is about to stop: it is in lame duck mode');
      return undefined;
    },
  },
};

/** Whatever comes after INFO is payload. */
async function hear(server: Peek): Promise<Greeting> {
  const info = await server.read(readInfo);
  server.drop(info.length);
  return info;
}
