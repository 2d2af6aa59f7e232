/** IMAP (RFC 9051, 3501): each command has a tag, which its answer repeats. TLS by STARTTLS. */
import { answer, type Dialect, goodbye, text, upgrade } from '../lines/dialect.ts';
import { protocolIn } from '../lines/index.ts';
import type { Protocol } from '../protocol.ts';

const capabilities = 'CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED';

export const dialect: Dialect = {
  title: 'IMAP',
  alpn: ['imap'],
  saysInstead: /^\* (OK|PREAUTH|BYE)/,
  tlsHint: 'have the client require STARTTLS',
  greeting: text(`* OK [${capabilities}] penstock ready`),
  // Without a list, so that clients ask the server for its own.
  welcome: text('* OK penstock ready'),
  isTagged: true,
  commands: {
    CAPABILITY: answer(`* ${capabilities}`, 'TAG OK CAPABILITY completed'),
    NOOP: answer('TAG OK NOOP completed'),
    LOGOUT: goodbye('* BYE', 'TAG OK LOGOUT completed'),
    STARTTLS: upgrade('TAG OK Begin TLS negotiation now'),
  },
  refused: text('TAG NO [PRIVACYREQUIRED] Must issue a STARTTLS command first'),
  malformed: text('TAG BAD Syntax error'),
  bye: (words, isForNow) => `* BYE ${isForNow ? '[UNAVAILABLE] ' : ''}${words}`,
  // A server that takes the client for logged in already (PREAUTH) no longer starts TLS.
  greets: { yes: /^\* OK( |$)/i, no: /^\* (BYE|PREAUTH)\b/i },
  asking: [{ says: 'a STARTTLS', yes: /^a OK( |$)/i, no: /^(a (NO|BAD)|\* BYE)\b/i, more: /^\* / }],
  leave: 'a LOGOUT',
};

export const imap: Protocol = protocolIn(dialect);
