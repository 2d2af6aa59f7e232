/** Clients of line-based protocols: greeted in the server's place, and answered until they ask for TLS. */
import type { Peek } from '../../peek/peek.ts';
import { clientFault, type Fault, gone, plainText, stuffed } from '../faults.ts';
import type { Meeting, Opening, Refusal, Sides, Terms } from '../protocol.ts';
import { reasonFor } from '../refusals.ts';
import { ask } from './ask.ts';
import { type Dialect, type Reply, text } from './dialect.ts';
import { Lines } from './lines.ts';

/** How many commands a client may try that it must not use before TLS. */
const maxRefused = 10;

export function meet(dialect: Dialect, { takesGlued = false }: Terms): Meeting {
  const { title, tlsHint } = dialect;
  let isGreeted = false;
  let hasLeft = false;
  return {
    async accept(client) {
      isGreeted = true;
      write(client, dialect.greeting);
      const { kind, words, refused } = await converse(dialect, client);
      hasLeft = kind === 'goodbye';
      if (!hasLeft && client.length > 0 && !takesGlued) throw stuffed('CVE-2011-0411');
      write(client, words);
      if (hasLeft) throw refused > 0 ? plainText(title, tlsHint) : gone();
      return tls;
    },
    announce: (server) => ask(dialect, server),
    join({ client, greeting, isSecure }: Sides) {
      if (greeting === undefined || (isGreeted && !dialect.greetsAgain)) return;
      client.write(isSecure ? withoutStarttls(greeting) : greeting);
    },
    refuse: (why) => (hasLeft ? undefined : lastWords(dialect, why)),
  };
}

const tls: Opening = { kind: 'tls' };

/** Answers commands up to one that ends the dialogue, which is left to answer. */
async function converse(dialect: Dialect, client: Peek): Promise<Said & { readonly refused: number }> {
  const lines = new Lines(client, faultOf(dialect));
  for (let refused = 0; ; ) {
    const said = replyTo(dialect, await lines.next());
    if (said.kind === 'upgrade' || said.kind === 'goodbye') return { ...said, refused };
    write(client, said.words);
    if (said.kind === 'refused') refused += 1;
    if (refused === maxRefused) throw plainText(dialect.title, dialect.tlsHint);
  }
}

type Said = { readonly kind: Reply['kind'] | 'refused'; readonly words: string };

/** What to answer to a line. */
export function replyTo({ commands, isTagged, refused, malformed }: Dialect, line: string): Said {
  const [, tag = '*', command = '', argument = ''] = (isTagged ? tagged : untagged).exec(line) ?? [];
  // Not `replace` with a text, in which `$&` would stand for something.
  const said = (words: string) => words.replace('TAG', () => tag);
  if (command === '') return { kind: 'refused', words: said(malformed) };
  const name = command.toUpperCase();
  const reply = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (reply === undefined) return { kind: 'refused', words: said(refused) };
  if (reply.kind === 'upgrade' && argument !== '') return { kind: 'refused', words: said(malformed) };
  return { kind: reply.kind, words: said(reply.words) };
}

// tag = 1*<any ASTRING-CHAR except "+">, RFC 9051 §9
const tagged = /^([^\s(){%*"\\+\x80-\xff]{1,64}) ([A-Za-z]+) *(.*)$/;
const untagged = /^()([A-Za-z]+) *(.*)$/;

/** Of ManageSieve's greeting, which is a list of capabilities: inside TLS there is nothing more to begin. */
function withoutStarttls(greeting: Buffer): Buffer {
  return Buffer.from(greeting.toString('latin1').replace(/^"STARTTLS" *\r?\n/gim, ''), 'latin1');
}

function lastWords({ bye }: Dialect, why: Refusal): Buffer | undefined {
  const words = (said: string, isForNow = false) => Buffer.from(text(bye(said, isForNow)), 'latin1');
  switch (reasonFor(why)) {
    case 'needs_tls':
      return words('TLS is required here');
    case 'misspoken':
      return words('This is no way to begin a session');
    case 'full':
      return words('Too many connections to the server behind this proxy', true);
    case 'unreachable':
      return words(`The server behind this proxy cannot be reached (connection ${why.conn})`, true);
  }
  return undefined;
}

function write(client: Peek, words: string): void {
  client.write(Buffer.from(words, 'latin1'));
}

function faultOf({ title }: Dialect): Fault {
  return clientFault(
    `the listener has starttls, for ${title}; clients that begin with TLS, and others, need a listener of their own`,
  );
}
