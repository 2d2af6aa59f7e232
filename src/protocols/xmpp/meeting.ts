/** XMPP clients, and servers that come as such: their header is answered in the server's place. */
import { randomBytes } from 'node:crypto';
import { domainToASCII } from 'node:url';
import { ProxyError } from '../../errors.ts';
import type { Peek } from '../../peek/peek.ts';
import { contentTypes } from '../../peek/records.ts';
import { clientFault, plainText, stuffed } from '../faults.ts';
import type { Meeting, Opening, Refusal, Terms } from '../protocol.ts';
import { reasonFor } from '../refusals.ts';
import { ask, is } from './ask.ts';
import type { Attributes } from './markup.ts';
import { namespaces, XmlStream } from './stream.ts';
import {
  type Condition,
  type Content,
  end,
  features,
  header,
  isAddress,
  proceed,
  streamError,
} from './words.ts';

export function meet(content: Content, { takesGlued = false }: Terms): Meeting {
  const talk = new Talk(content, takesGlued);
  // A client that begins with TLS has named no domain but by SNI.
  const addresses = (name: string | undefined) => ({ to: talk.to ?? name, from: talk.from });
  return {
    get host() {
      return hostOf(talk.to);
    },
    accept: (client) => talk.accept(client),
    ask: (server, name) => ask(content, server, addresses(name)),
    announce: (server, name) => ask(content, server, addresses(name)),
    refuse: (why) => talk.refuse(why),
  };
}

class Talk {
  to: string | undefined;
  from: string | undefined;
  readonly #content: Content;
  readonly #takesGlued: boolean;
  #isAnswered = false;
  #hasLeft = false;
  /** What is wrong with the stream, if anything is. */
  #condition: Condition = 'bad-format';

  constructor(content: Content, takesGlued: boolean) {
    this.#content = content;
    this.#takesGlued = takesGlued;
  }

  async accept(client: Peek): Promise<Opening> {
    if ((await client.read(([first]) => first)) === contentTypes.handshake) return { kind: 'tls' };
    const stream = new XmlStream(client, invalid);
    const { content, attributes } = await stream.header();
    this.#take(content, attributes);
    client.write(Buffer.from(this.#header() + features));
    this.#isAnswered = true;
    const element = await stream.element();
    if (element === undefined) {
      client.write(Buffer.from(end));
      this.#hasLeft = true;
      throw new ProxyError('ERR_CLIENT_CLOSED', { side: 'client', message: 'the client ended its stream' });
    }
    if (!is(element, 'starttls', namespaces.tls)) throw plainText('XMPP', tlsHint);
    if (client.length > 0 && !this.#takesGlued) throw stuffed('CVE-2011-0411');
    client.write(Buffer.from(proceed));
    return { kind: 'tls' };
  }

  /** The attributes of a header. */
  #take(content: string | undefined, attributes: Attributes): void {
    const [to, from] = ['to', 'from'].map((name) => attributes.get(name));
    if (content !== this.#content)
      throw this.#unfit('invalid-namespace', `begins no stream of ${this.#content}`);
    // Those before 1.0 know no features, so no starttls either.
    if (!/^[1-9]\d{0,2}\.\d{1,3}$/.test(attributes.get('version') ?? '')) {
      throw this.#unfit('unsupported-version', 'speaks XMPP as it was before version 1.0');
    }
    if (to !== undefined && !isAddress(to)) throw this.#unfit('improper-addressing', 'addresses no domain');
    this.to = to;
    this.from = from !== undefined && isAddress(from) ? from : undefined;
  }

  #unfit(condition: Condition, what: string): ProxyError {
    this.#condition = condition;
    return invalid(what);
  }

  #header(): string {
    return header(this.#content, { id: randomBytes(9).toString('base64url'), from: this.to, to: this.from });
  }

  refuse(why: Refusal): Buffer | undefined {
    const words = (condition: Condition, text: string) => {
      // Within TLS a stream begins anew.
      const isOpen = this.#isAnswered && why.phase === 'starttls';
      return Buffer.from((isOpen ? '' : this.#header()) + streamError(condition, text));
    };
    switch (this.#hasLeft ? undefined : reasonFor(why)) {
      case 'needs_tls':
        return words('policy-violation', 'TLS is required here');
      case 'misspoken':
        return words(this.#condition, 'This is no way to begin a session');
      case 'full':
        return words('resource-constraint', 'Too many connections to the server behind this proxy');
      case 'unreachable':
        return words(
          'remote-connection-failed',
          `The server behind this proxy cannot be reached (connection ${why.conn})`,
        );
    }
    return undefined;
  }
}

/** A domain as SNI writes it; undefined for what is none. */
function hostOf(address: string | undefined): string | undefined {
  return (address && domainToASCII(address).toLowerCase().replace(/\.$/, '')) || undefined;
}

const invalid = clientFault(
  'clients of XMPP need a listener with starttls: xmpp, servers one with starttls: xmpp-server, others one of their own',
);

export const tlsHint = 'have the client require STARTTLS, or begin with TLS';
