/** XMPP: the client begins a stream of XML, and asks for TLS in it by starttls (RFC 6120 §5). */
import type { Protocol } from '../protocol.ts';
import { ask } from './ask.ts';
import { checkOf } from './check.ts';
import { meet, tlsHint } from './meeting.ts';
import type { Content } from './words.ts';

export const xmpp: Protocol = protocolFor('XMPP', 'xmpp-client', 'jabber:client');

/** Servers speak it with each other like clients with servers, but for the namespace. */
export function protocolFor(title: string, alpn: string, content: Content): Protocol {
  return {
    title,
    // XEP-0368
    alpn: [alpn],
    saysInstead: new RegExp(`^(<\\?xml[^>]{0,60}>\\s*)?<stream:stream[^>]{0,1000} xmlns=["']${content}["']`),
    firstByte: 0x3c,
    notBeside: 'what was said before TLS is void, and a plain client would have been answered in its place',
    tlsHint,
    told: 'read the header of a stream in the name of the domain that they ask for, and that it requires starttls; or nothing if they begin with TLS',
    meet: (terms) => meet(content, terms),
    ask: (server, name) => ask(content, server, { to: name }),
    check: checkOf(content),
  };
}
