/** Servers of line-based protocols: their greeting, and how they are asked for TLS. */
import { type Code, ProxyError } from '../../errors.ts';
import type { Peek } from '../../peek/peek.ts';
import { type Fault, noTls, serverFault } from '../faults.ts';
import type { Greeting } from '../protocol.ts';
import { type Dialect, type Exchange, text } from './dialect.ts';
import { Lines } from './lines.ts';

/**
 * Returns a greeting of our own: what a server says before TLS may come from somebody else, so that no client
 * gets to read it.
 */
export async function ask(dialect: Dialect, server: Peek): Promise<Greeting | undefined> {
  const talk = talkTo(dialect, server, 'ERR_UPSTREAM_STARTTLS_REFUSED');
  for (const exchange of [dialect.greets, ...dialect.asking]) await talk(exchange);
  return dialect.greetsAgain ? undefined : Buffer.from(dialect.welcome, 'latin1');
}

/** The greeting of a server that is not asked for TLS. */
export async function hear(dialect: Dialect, server: Peek): Promise<Greeting> {
  const lines = await talkTo(dialect, server, 'ERR_UPSTREAM_CONNECT')({ ...dialect.greets, offers: any });
  return Buffer.from(text(...lines), 'latin1');
}

const any = /^/;

/** Holds one exchange after another. Throws `refused` for a "no". */
function talkTo(dialect: Dialect, server: Peek, refused: Code): (exchange: Exchange) => Promise<string[]> {
  const invalid = faultOf(dialect);
  const lines = new Lines(server, invalid);
  return async (exchange) => {
    const { says = '', offers = any } = exchange;
    if (says !== '') server.write(Buffer.from(text(says)));
    const reply: string[] = [];
    for (let isLast = false; !isLast; ) {
      const line = await lines.next();
      reply.push(line);
      const judgement = judge(exchange, line);
      if (judgement === 'invalid') throw invalid(`answers ${says || 'a connection'} with something else`);
      if (typeof judgement === 'object') throw no(refused, judgement.no, says);
      isLast = judgement === 'yes';
    }
    if (!reply.some((line) => offers.test(line))) throw withoutTls(dialect);
    return reply;
  };
}

/** What a line means in this exchange. */
export function judge(
  { yes, no, more }: Exchange,
  line: string,
): 'yes' | 'more' | 'invalid' | { readonly no: string } {
  if (yes.test(line)) return 'yes';
  const [refusal] = no.exec(line) ?? [];
  if (refusal !== undefined) return { no: refusal };
  return more?.test(line) ? 'more' : 'invalid';
}

function no(code: Code, word: string, command: string): ProxyError {
  const isGreeting = command === '';
  return new ProxyError(code, {
    side: 'upstream',
    message: isGreeting ? `the server greets with "${word}"` : `the server answers ${command} with "${word}"`,
    hint: isGreeting
      ? 'it turns connections away, at least now and from here: its log says why'
      : 'give the server a certificate, and let it offer TLS',
  });
}

function withoutTls({ title }: Dialect): ProxyError {
  return noTls(
    'the server does not offer STARTTLS',
    `give the ${title} server a certificate, and let it offer TLS; or reach it in plain text by taking tls out of the upstream`,
  );
}

function faultOf({ title }: Dialect): Fault {
  return serverFault(
    `check that the endpoint is a ${title} server; one that begins with TLS is reached without starttls`,
  );
}
