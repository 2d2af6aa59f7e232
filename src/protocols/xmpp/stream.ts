/** One side of a stream of XMPP ahead of TLS: its header, and the elements behind it, within bounds. */
import type { Peek } from '../../peek/peek.ts';
import type { Fault } from '../faults.ts';
import { type Attributes, type Markup, readMarkup } from './markup.ts';

/** The most that one side may say before TLS. */
const maxTags = 500;
const maxBytes = 32 * 1024;
const maxDepth = 10;

export const namespaces = {
  streams: 'http://etherx.jabber.org/streams',
  tls: 'urn:ietf:params:xml:ns:xmpp-tls',
  errors: 'urn:ietf:params:xml:ns:xmpp-streams',
} as const;

/** A header. `content` is the namespace of what is said in the stream. */
export type Header = { readonly content: string | undefined; readonly attributes: Attributes };

/** An element of the stream, and what is directly within it. */
export type Element = Name & { readonly children: readonly Name[] };
type Name = { readonly name: string; readonly namespace: string };

/** The namespaces that are declared somewhere, by their prefixes. */
type Scope = ReadonlyMap<string, string>;

/** What one side says; it is consumed as it is read. */
export class XmlStream {
  readonly #peek: Peek;
  readonly #fault: Fault;
  /** The namespaces and the names of what is open; the stream itself comes first. */
  readonly #scopes: Scope[] = [];
  readonly #open: string[] = [];
  #tags = 0;
  #bytes = 0;

  constructor(peek: Peek, fault: Fault) {
    this.#peek = peek;
    this.#fault = fault;
  }

  /** The header. Throws if the side says anything else first. */
  async header(): Promise<Header> {
    let markup = await this.#next();
    if (markup.kind === 'declaration') markup = await this.#next();
    if (markup.kind !== 'open') throw this.#fault('does not begin a stream of XMPP');
    const { name, namespace } = this.#enter(markup);
    if (name !== 'stream' || namespace !== namespaces.streams)
      throw this.#fault('does not begin a stream of XMPP');
    return { content: this.#scopes[0]?.get(''), attributes: markup.attributes };
  }

  /** The next element, once it is complete; undefined at the end of the stream. */
  async element(): Promise<Element | undefined> {
    const children: Name[] = [];
    let element: Name | undefined;
    do {
      const markup = await this.#next();
      if (markup.kind === 'close') {
        this.#leave(markup.name);
        continue;
      }
      if (markup.kind !== 'open' && markup.kind !== 'empty')
        throw this.#fault('sends XML that is no element');
      const name = this.#enter(markup);
      if (this.#open.length === 2) element = name;
      if (this.#open.length === 3) children.push(name);
      if (markup.kind === 'empty') this.#leave(markup.name);
    } while (this.#open.length > 1);
    return element && { ...element, children };
  }

  /** The next tag. Skips text, which only elements of the stream may have. */
  async #next(): Promise<Markup> {
    for (;;) {
      const takesText = this.#open.length > 1;
      const markup = await this.#peek.read((bytes) => readMarkup(bytes, this.#fault, takesText));
      this.#peek.drop(markup.length);
      this.#tags += 1;
      this.#bytes += markup.length;
      if (this.#tags > maxTags || this.#bytes > maxBytes) {
        throw this.#fault(`says more than ${maxTags} tags or ${maxBytes} bytes before TLS`);
      }
      if (markup.kind !== 'text') return markup;
    }
  }

  #enter({ name, attributes }: { name: string; attributes: Attributes }): Name {
    if (this.#open.length === maxDepth) throw this.#fault(`sends elements within ${maxDepth} others`);
    const scope = new Map(this.#scopes.at(-1));
    for (const [key, value] of attributes) {
      if (key === 'xmlns') scope.set('', value);
      else if (key.startsWith('xmlns:')) scope.set(key.slice('xmlns:'.length), value);
    }
    this.#scopes.push(scope);
    this.#open.push(name);
    const [prefix = '', local = ''] = name.includes(':') ? name.split(':') : ['', name];
    return { name: local, namespace: scope.get(prefix) ?? '' };
  }

  #leave(name: string): void {
    if (this.#open.pop() !== name) throw this.#fault('closes an element that is not open');
    this.#scopes.pop();
  }
}
