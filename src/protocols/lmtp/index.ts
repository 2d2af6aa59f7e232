/** LMTP: SMTP for the last step, to where the mailboxes are (RFC 2033). */
import { type Dialect, text } from '../lines/dialect.ts';
import { protocolIn } from '../lines/index.ts';
import type { Protocol } from '../protocol.ts';
import { wordsWith } from '../smtp/words.ts';

export const dialect: Dialect = {
  title: 'LMTP',
  alpn: [],
  saysInstead: /^220[ -].*\blmtp\b/i,
  tlsHint: 'have the mail server require STARTTLS for its deliveries',
  greeting: text('220 penstock LMTP'),
  welcome: text('220 penstock LMTP'),
  ...wordsWith('LHLO'),
};

export const lmtp: Protocol = protocolIn(dialect);
