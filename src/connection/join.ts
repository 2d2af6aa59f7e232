/** Gets both sides of a connection ready for payload. */

import { hostNameOf } from '../config/routes/server-name.ts';
import type { Decision, Served } from '../decide/decide.ts';
import { LightAbortSignal, type Signal } from '../net/abort-signal.ts';
import { abort, type Stream } from '../net/stream.ts';
import { milliseconds } from '../observe/access-log.ts';
import type { ClientHello } from '../peek/client-hello.ts';
import { Peek } from '../peek/peek.ts';
import type { Meeting } from '../protocols/protocol.ts';
import { untilAborted } from '../upstream/deadline.ts';
import type { Dialled } from '../upstream/dial.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import { watchDown } from '../upstream/endpoint-state.ts';
import { heedCommand, towardsSuspects } from './cancel-by-command.ts';
import { openClient } from './client-side.ts';
import { clearDeadline, setDeadline } from './deadline.ts';
import { clientGone, endConnection } from './ending.ts';
import { keepOrReplace } from './first-word.ts';
import type { Route } from './listener.ts';
import { anew, dialFor, type PreparedUpstream } from './outbound.ts';
import type { Connection } from './state.ts';

export type Sides = { readonly client: Stream; readonly upstream: Stream };

/**
 * The client's side and the upstream's; undefined if it was a CancelRequest inside TLS. `hello`
 * is undefined for plain clients.
 */
export async function connectSides(
  connection: Connection,
  { route, wildcardLabel }: Decision<Route>,
  hello: ClientHello | undefined,
  peek: Peek,
): Promise<Sides | undefined> {
  const { record } = connection;
  const signal = new LightAbortSignal();
  connection.gone = signal;
  const opened = openClient(connection, route, hello, peek);
  const passthrough = route.kind === 'passthrough';
  const options = { sni: hostNameOf(record.sni), passthrough, wildcardLabel, signal };
  // What is asked in the client's words has to wait for them.
  const isEarly = route.kind === 'terminate' && route.outbound.early && !connection.meeting?.ask;
  const early = isEarly ? dialEarly(connection, route, options, opened) : undefined;
  const client = opened instanceof Promise ? await opened : opened;
  if (client === undefined) return undefined;
  record.phase = 'connect';
  const { cancelling } = connection.meeting ?? {};
  const outbound = cancelling
    ? await towardsSuspects(connection, cancelling, route.outbound)
    : route.outbound;
  let dialled = await (early ?? dialFor(connection, outbound, options));
  connection.dialled = dialled;
  const meeting = meetingToJoin(connection, route);
  if (dialled.prepared.isWarm && meeting === undefined) {
    const redial = () => dialFor(connection, anew(outbound), options);
    dialled = await keepOrReplace(connection, client, dialled, outbound.upstream.config, redial);
  }
  if (meeting) await introduce(connection, route, meeting, { client, upstream: dialled.prepared, signal });
  connection.gone = undefined;
  noteDialled(connection, route, dialled);
  if (cancelling && meeting) await heedCommand(connection, cancelling, client, dialled);
  return { client, upstream: dialled.prepared.stream };
}

/** Dials during the client's handshake. */
function dialEarly(
  connection: Connection,
  { outbound }: Served<Route>,
  options: Omit<Parameters<typeof dialFor>[2], 'signal'> & { readonly signal: LightAbortSignal },
  opened: Stream | Promise<Stream | undefined>,
): ReturnType<typeof dialFor> {
  const clientReady = untilReady(opened, options.signal);
  const dialled = dialFor(connection, outbound, { ...options, clientReady });
  // The client is awaited elsewhere, and its error counts; neither of these may be an unhandled rejection.
  clientReady.catch(ignore);
  dialled.catch(ignore);
  return dialled;
}

/** Resolves when the client is ready. If it fails, or only wanted to cancel something, the dial ends too. */
async function untilReady(
  opened: Stream | Promise<Stream | undefined>,
  signal: LightAbortSignal,
): Promise<void> {
  try {
    if ((await opened) === undefined) throw clientGone();
  } catch (error) {
    signal.abort(error);
    throw error;
  }
}

function noteDialled(
  connection: Connection,
  { outbound }: Served<Route>,
  { connectMs, prepared, endpoint }: Dialled<PreparedUpstream>,
): void {
  const { record, undo, listener } = connection;
  record.connectMs = milliseconds(connectMs);
  record.upstreamTls = prepared.tls;
  record.isWarm = prepared.isWarm;
  if (outbound.upstream.config.on_down === 'close') undo.push(closeWhenDown(connection, endpoint));
  if (listener.cancels) {
    const alias = connection.meeting?.cancelling?.alias();
    const session = { outbound, endpoint, sni: hostNameOf(record.sni), alias };
    undo.push(listener.cancels.sessions.add(session, record.client.address));
  }
}

/** For `on_down: close`. The returned function stops the watch. */
function closeWhenDown(connection: Connection, { label, state }: Endpoint): () => void {
  return watchDown(state, (reason) =>
    endConnection(connection, 'ERR_UPSTREAM_DOWN', `${label} is down: ${reason}`, 'upstream'),
  );
}

type Ready = { readonly client: Stream; readonly upstream: PreparedUpstream; readonly signal: Signal };

type Joining = Meeting & Required<Pick<Meeting, 'join'>>;

/** The protocol, if it has more to say to both sides. Most have not, so most connections skip the wait. */
function meetingToJoin({ meeting: met, listener }: Connection, route: Served<Route>): Joining | undefined {
  if (route.kind === 'passthrough') return undefined;
  // If the listener has no protocol, nobody has greeted the client yet: the upstream's protocol has to.
  const meeting = met ?? route.outbound.protocol?.meet(listener.rules);
  return meeting?.join && (meeting as Joining);
}

/** Lets the protocol finish with both sides. On failure, closes the upstream's side too. */
async function introduce(
  connection: Connection,
  route: Served<Route>,
  meeting: Joining,
  ready: Ready,
): Promise<void> {
  const { client, upstream, signal } = ready;
  const [clientSide, server] = [new Peek(client.stream), new Peek(upstream.stream.stream, 'upstream')];
  startIntroducing(connection);
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

/** Gives the client a fresh deadline: waiting for the upstream must not cost it any of its time. */
function startIntroducing(connection: Connection): void {
  const { record, listener } = connection;
  record.phase = 'starttls';
  const passed = Math.ceil(performance.now() - record.startedAt);
  setDeadline(connection, passed + listener.config.timeouts.handshake, 'handshake');
}

function ignore(): void {}
