/** SMTP, for mail between servers (port 25) and from clients (587): TLS by STARTTLS, RFC 3207. */
import { type Dialect, text } from '../lines/dialect.ts';
import { protocolIn } from '../lines/index.ts';
import type { Protocol } from '../protocol.ts';
import { wordsWith } from './words.ts';

export const dialect: Dialect = {
  title: 'SMTP',
  alpn: [],
  saysInstead: /^220[ -].*(smtp|mail|postfix|exim|sendmail)/i,
  tlsHint: 'have the client require STARTTLS',
  greeting: text('220 penstock ESMTP'),
  welcome: text('220 penstock ESMTP'),
  ...wordsWith('EHLO'),
};

export const smtp: Protocol = protocolIn(dialect);
