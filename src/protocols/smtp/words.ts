/** SMTP's words, and LMTP's, which differ in one (RFC 5321, 3207, 2033). */
import { answer, type Dialect, type Exchange, goodbye, text, upgrade } from '../lines/dialect.ts';

type Words = Pick<Dialect, 'commands' | 'greets' | 'asking' | 'refused' | 'malformed' | 'bye' | 'leave'>;

/** `hello` is the command that lists extensions. */
export function wordsWith(hello: 'EHLO' | 'LHLO'): Words {
  return {
    commands: {
      [hello]: answer('250-penstock', '250-ENHANCEDSTATUSCODES', '250 STARTTLS'),
      ...(hello === 'EHLO' ? { HELO: answer('250 penstock') } : {}),
      NOOP: answer('250 2.0.0 OK'),
      RSET: answer('250 2.0.0 OK'),
      QUIT: goodbye('221 2.0.0 Bye'),
      STARTTLS: upgrade('220 2.0.0 Ready to start TLS'),
    },
    refused: text('530 5.7.0 Must issue a STARTTLS command first'),
    malformed: text('501 5.5.4 Syntax error'),
    bye: (words, isForNow) => `421 ${isForNow ? '4.3.2' : '4.7.0'} ${words}`,
    greets: reply('220'),
    asking: [
      // An address stands in for a name that we do not have, and servers check names.
      { says: `${hello} [127.0.0.1]`, ...reply('250'), offers: /^250[ -]STARTTLS *$/i },
      { says: 'STARTTLS', ...reply('220') },
    ],
    leave: 'QUIT',
  };
}

// Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
function reply(code: '220' | '250'): Exchange {
  return { yes: new RegExp(`^${code}( |$)`), more: new RegExp(`^${code}-`), no: /^[45]\d\d(?=[ -]|$)/ };
}
