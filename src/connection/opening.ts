/** What comes before the ClientHello: a PROXY header, and what a protocol says before it starts TLS. */

import { admitPeer, admitPlain } from '../decide/decide.ts';
import { errorOf } from '../decide/refusals.ts';
import type { Signal } from '../net/abort-signal.ts';
import { abort, type Stream } from '../net/stream.ts';
import { Peek } from '../peek/peek.ts';
import type { Opening } from '../protocols/protocol.ts';
import { decodeProxyHeader } from '../proxy-protocol/decode.ts';
import { untilAborted } from '../upstream/deadline.ts';
import type { Route } from './listener.ts';
import type { Prepared } from './outbound.ts';
import { type Connection, clearDeadline, setDeadline } from './state.ts';

/** Requires a PROXY header of a trusted peer, and takes the client's address from it. */
export async function readProxyHeader(connection: Connection, peek: Peek): Promise<void> {
  const { record, listener } = connection;
  record.phase = 'proxy_header';
  const refused = admitPeer(listener.rules, record.client.address);
  if (refused) throw errorOf(refused);
  const header = await peek.read(decodeProxyHeader);
  peek.drop(header.length);
  // With nothing behind it, it is a load balancer's health check: still a probe.
  connection.headerBytes = header.length;
  if (header.client === undefined) return;
  record.peer = record.client;
  record.client = header.client;
  record.destination = header.destination;
}

/** Finds out what the client is, answering what it says before TLS. Leaves the ClientHello unread. */
export async function readOpening(connection: Connection, peek: Peek): Promise<Opening> {
  const opening = await openingOf(connection, peek);
  if (opening.kind !== 'plain') return opening;
  connection.speaksPlainly = connection.meeting !== undefined;
  const refused = admitPlain(connection.listener.rules);
  if (refused) throw errorOf(refused);
  return opening;
}

function openingOf({ listener, record, meeting }: Connection, peek: Peek): Opening | Promise<Opening> {
  if (!listener.rules.takesTls) return { kind: 'plain' };
  if (meeting) {
    record.phase = 'starttls';
    return meeting.accept(peek);
  }
  if (!listener.rules.takesPlain) return { kind: 'tls' };
  record.phase = 'peek';
  return peek.read(tlsOrPlain);
}

function tlsOrPlain([first]: Buffer): Opening | undefined {
  return first === undefined ? undefined : { kind: first === handshakeRecord ? 'tls' : 'plain' };
}

/** ContentType handshake(22), RFC 8446 §5.1: the first byte of any ClientHello. */
const handshakeRecord = 22;

/** What the client says first within TLS: the session, or something to be cancelled. */
export async function readWithinTls({ meeting, record }: Connection, client: Stream): Promise<Opening> {
  if (meeting?.within === undefined) return { kind: 'tls' };
  record.phase = 'starttls';
  const peek = new Peek(client.stream);
  const opening = await meeting.within(peek);
  if (opening.kind === 'tls') peek.release();
  return opening;
}

type Ready = { readonly client: Stream; readonly upstream: Prepared; readonly signal: Signal };

/** Both sides are ready for payload: what their protocol has to say to them yet. Whatever fails ends the upstream's side too. */
export async function join(connection: Connection, route: Route, ready: Ready): Promise<void> {
  if (route.kind === 'deny' || route.kind === 'passthrough') return;
  // A client of a listener that has no protocol was not greeted: what the upstream's had to say is still to be said.
  const meeting = connection.meeting ?? route.outbound.protocol?.meet(connection.listener.rules);
  if (meeting?.join === undefined) return;
  const { client, upstream, signal } = ready;
  const [clientSide, server] = [new Peek(client.stream), new Peek(upstream.stream.stream, 'upstream')];
  startJoining(connection);
  try {
    const isSecure = route.kind === 'terminate';
    const joining = meeting.join({ client: clientSide, server, greeting: upstream.greeting, isSecure });
    if (joining) await untilAborted(joining, signal);
    clientSide.release();
    server.release();
  } catch (error) {
    abort(upstream.stream);
    throw error;
  } finally {
    clearDeadline(connection);
  }
}

/** Both sides were quick so far; the client's clock begins anew. */
function startJoining(connection: Connection): void {
  const { record, listener } = connection;
  record.phase = 'starttls';
  const passed = Math.ceil(performance.now() - record.startedAt);
  setDeadline(connection, passed + listener.config.timeouts.handshake, 'handshake');
}
