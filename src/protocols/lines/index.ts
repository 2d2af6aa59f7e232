/** A protocol made of its dialect: SMTP, LMTP, IMAP, POP3 and ManageSieve differ in little but words. */
import type { Protocol } from '../protocol.ts';
import { ask, hear } from './ask.ts';
import { type Dialect, text } from './dialect.ts';
import { meet } from './meeting.ts';

export function protocolIn(dialect: Dialect): Protocol {
  const { title, alpn, saysInstead, tlsHint } = dialect;
  return {
    title,
    alpn,
    saysInstead,
    tlsHint,
    told: `read ${JSON.stringify(dialect.greeting.split('\r\n')[0])}, and are served no command but those before STARTTLS`,
    notBeside: 'what was said before TLS is void, and a plain client would have been answered in its place',
    meet: (terms) => meet(dialect, terms),
    ask: (server) => ask(dialect, server),
    hear: (server) => hear(dialect, server),
    check: {
      passesIf: 'it greets',
      async run(server, greeting) {
        if (greeting === undefined) await hear(dialect, server);
        return Buffer.from(text(dialect.leave));
      },
    },
  };
}
