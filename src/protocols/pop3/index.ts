/** POP3 (RFC 1939, 2449): TLS by STLS, RFC 2595. */
import { answer, type Dialect, type Exchange, goodbye, text, upgrade } from '../lines/dialect.ts';
import { protocolIn } from '../lines/index.ts';
import type { Protocol } from '../protocol.ts';

const reply: Exchange = { yes: /^\+OK( |$)/i, no: /^-ERR(?= |$)/i };

export const dialect: Dialect = {
  title: 'POP3',
  alpn: ['pop3'],
  saysInstead: /^\+OK/,
  tlsHint: 'have the client require STARTTLS (STLS)',
  greeting: text('+OK penstock ready'),
  welcome: text('+OK penstock ready'),
  commands: {
    CAPA: answer('+OK', 'STLS', '.'),
    QUIT: goodbye('+OK Bye'),
    STLS: upgrade('+OK Begin TLS negotiation now'),
  },
  refused: text('-ERR Must issue a STLS command first'),
  malformed: text('-ERR Syntax error'),
  bye: (words, isForNow) => `-ERR ${isForNow ? '[SYS/TEMP] ' : ''}${words}`,
  greets: reply,
  asking: [{ says: 'STLS', ...reply }],
  leave: 'QUIT',
};

export const pop3: Protocol = protocolIn(dialect);
