/** What comes before the ClientHello: a PROXY header, and whatever a protocol says before it starts TLS. */
import { admitPeer } from '../decide/decide.ts';
import { enforce } from '../decide/refusals.ts';
import type { Rules } from '../decide/rules.ts';
import type { Stream } from '../net/stream.ts';
import { Peek } from '../peek/peek.ts';
import { contentTypes } from '../peek/records.ts';
import type { Meeting, Opening } from '../protocols/protocol.ts';
import { decodeProxyHeader, type ProxyHeader } from '../proxy-protocol/decode.ts';
import type { Connection } from './state.ts';

/** Requires a PROXY header from a peer that is trusted to send one. */
export async function readProxyHeader(rules: Rules, peer: string, peek: Peek): Promise<ProxyHeader> {
  enforce(admitPeer(rules, peer));
  const header = await peek.read(decodeProxyHeader);
  peek.drop(header.length);
  return header;
}

/** Finds out what the client is, and answers what it says before TLS. Leaves the ClientHello unread. */
export function readOpening(
  { takesTls, takesPlain }: Rules,
  meeting: Meeting | undefined,
  peek: Peek,
): Opening | Promise<Opening> {
  if (!takesTls && !meeting?.greets) return plain;
  if (meeting) return meeting.accept(peek);
  return takesPlain ? peek.read(tlsOrPlain) : tls;
}

const plain: Opening = { kind: 'plain' };
const tls: Opening = { kind: 'tls' };

function tlsOrPlain([first]: Buffer): Opening | undefined {
  if (first === undefined) return undefined;
  return first === contentTypes.handshake ? tls : plain;
}

/** What the client says first inside TLS: it opens a session, or asks to cancel something. */
export async function readWithinTls({ meeting, record }: Connection, client: Stream): Promise<Opening> {
  if (meeting?.within === undefined) return tls;
  record.phase = 'starttls';
  const peek = new Peek(client.stream);
  const opening = await meeting.within(peek);
  if (opening.kind === 'tls') peek.release();
  return opening;
}
