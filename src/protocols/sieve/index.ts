/**
 * ManageSieve (RFC 5804), by which clients store filters. A server greets with its capabilities, and again
 * once TLS is there, unasked.
 */
import { answer, type Dialect, type Exchange, goodbye, text, upgrade } from '../lines/dialect.ts';
import { protocolIn } from '../lines/index.ts';
import type { Protocol } from '../protocol.ts';

const capabilities = [
  '"IMPLEMENTATION" "penstock"',
  '"SASL" ""',
  '"SIEVE" ""',
  '"STARTTLS"',
  '"VERSION" "1.0"',
  'OK "penstock ready."',
];

// Not one that ends in a literal ({5}), whose text would be taken for lines.
const reply: Exchange = { yes: /^OK( .*[^}]|)$/i, no: /^(NO|BYE)\b/i };

export const dialect: Dialect = {
  title: 'ManageSieve',
  alpn: ['managesieve'],
  saysInstead: /^"IMPLEMENTATION"/i,
  tlsHint: 'have the client require STARTTLS',
  greeting: text(...capabilities),
  welcome: '',
  commands: {
    CAPABILITY: answer(...capabilities),
    NOOP: answer('OK "NOOP completed."'),
    LOGOUT: goodbye('OK "Bye."'),
    STARTTLS: upgrade('OK "Begin TLS negotiation now."'),
  },
  refused: text('NO (ENCRYPT-NEEDED) "Must issue a STARTTLS command first."'),
  malformed: text('NO "Syntax error."'),
  bye: (words, isForNow) => `BYE ${isForNow ? '(TRYLATER) ' : ''}"${words}"`,
  greets: { ...reply, more: /^"[^"]*"( .*[^}]|)$/, offers: /^"STARTTLS" *$/i },
  asking: [{ says: 'STARTTLS', ...reply }],
  leave: 'LOGOUT',
  greetsAgain: true,
};

export const sieve: Protocol = protocolIn(dialect);
