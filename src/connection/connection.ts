/** One connection, accept to close. It reads top to bottom and fails in one place. */
import type { Socket } from 'node:net';
import { admitAddress, chooseRoute, type Decision, type Served } from '../decide/decide.ts';
import { errorOf } from '../decide/refusals.ts';
import { type ConnectionCode, ProxyError, type Side } from '../errors.ts';
import { Cancellation } from '../net/abort-signal.ts';
import { abort, closeWith, type Stream } from '../net/stream.ts';
import { logClosed, logOpened, milliseconds } from '../observe/access-log.ts';
import { createHelloReader } from '../peek/client-hello.ts';
import { ja4 } from '../peek/ja4.ts';
import { Peek } from '../peek/peek.ts';
import { perConnection } from '../process/descriptors.ts';
import { hostNameOf } from '../route/server-name.ts';
import { Splice, type SpliceEnd } from '../splice/splice.ts';
import { unannounced } from '../tls/server/terminate.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import { watchDown } from '../upstream/endpoint-state.ts';
import { identityOf } from './authorize-identity.ts';
import { forwardCancel } from './cancel-request.ts';
import type { Listener, Route } from './listener.ts';
import { join, readOpening, readProxyHeader, readWithinTls } from './opening.ts';
import { dialFor } from './outbound.ts';
import { turnAway } from './refusals.ts';
import { type Connection, clearDeadline, createConnection, factsOf, isProbe, setDeadline } from './state.ts';

type TerminateRoute = Extract<Route, { kind: 'terminate' }>;
type Sides = { readonly client: Stream; readonly upstream: Stream };

/** Serves one client. Steps throw; only this function catches. It never rejects, and owns both sockets. */
export async function serveConnection(raw: Socket, listener: Listener): Promise<void> {
  const connection = createConnection(raw, listener);
  listener.open.add(connection);
  listener.entering.enter();
  listener.metrics.opened(listener.name);
  try {
    const sides = await establish(connection).finally(listener.entering.leave);
    if (sides) await copy(connection, sides);
  } catch (error) {
    fail(connection, error);
  } finally {
    close(connection);
  }
}

/** Everything up to the payload; undefined if it was a CancelRequest, which has none. What it needed is free after it. */
async function establish(connection: Connection): Promise<Sides | undefined> {
  const { raw, listener } = connection;
  setDeadline(connection, listener.config.timeouts.client_hello, 'client_hello');
  await enter(connection);
  const peek = new Peek(raw);
  if (listener.rules.trustsPeer) await readProxyHeader(connection, peek);
  await admit(connection);
  const opening = await readOpening(connection, peek);
  if (opening.kind === 'cancel') {
    await cancel(connection, raw, opening.message);
    return undefined;
  }
  if (opening.kind === 'tls') await peekHello(connection, peek);
  const decision = takeRoute(connection);
  return connectSides(connection, decision, peek);
}

/** Ends a connection from outside, with this code: a drain whose grace is over, an endpoint that is down. */
export function endConnection(
  connection: Connection,
  code: ConnectionCode,
  message: string,
  side: Side = 'proxy',
): void {
  if (connection.splice) {
    connection.splice.end({ side, code, error: message });
    return;
  }
  connection.missed ??= new ProxyError(code, { side, message });
  abort(connection.stream ?? { raw: connection.raw });
}

async function enter(connection: Connection): Promise<void> {
  const { admission, descriptors, name } = connection.listener;
  // A socket that fails while no step listens to it must not end the process; every step looks for itself.
  connection.raw.on('error', ignore);
  // Before anything is waited for: whoever waits has its descriptor already.
  if (!descriptors.take(perConnection)) {
    throw new ProxyError('ERR_DESCRIPTORS_EXHAUSTED', {
      side: 'proxy',
      message: `the limit of open files leaves no room for another connection: ${descriptors.used()} of ${descriptors.capacity} descriptors are in use`,
      hint: `raise \`ulimit -n\` (LimitNOFILE=), or lower listeners.${name}.limits.connections`,
    });
  }
  connection.undo.push(() => descriptors.give(perConnection));
  const entered = admission.enter();
  if (entered) await entered;
  connection.undo.push(admission.leave);
}

async function admit(connection: Connection): Promise<void> {
  const { record, listener } = connection;
  // Again: the client's address may have come by a header.
  record.phase = 'admit';
  const { address } = record.client;
  const refused = admitAddress(listener.rules, address);
  if (refused) throw errorOf(refused);
  const admitted = listener.admission.admit(address);
  const leave = typeof admitted === 'object' ? await admitted : admitted;
  if (leave) connection.undo.push(leave);
}

async function peekHello(connection: Connection, peek: Peek): Promise<void> {
  const { record } = connection;
  record.phase = 'peek';
  const read = createHelloReader();
  const { hello } = await peek.read(read);
  connection.hello = hello;
  connection.offered = hello.alpn;
  record.sni = hello.sni;
  record.ja4 = ja4(hello);
}

function takeRoute(connection: Connection): Decision<Route> {
  const { record, listener } = connection;
  record.phase = 'route';
  const decided = chooseRoute(listener.rules, factsOf(connection));
  record.route = decided.route?.label;
  if (decided.kind === 'refusal') throw errorOf(decided);
  connection.decision = decided;
  return decided;
}

/** The client's side and the upstream's, both ready for payload. */
async function connectSides(
  connection: Connection,
  { route, wildcardLabel }: Decision<Route>,
  peek: Peek,
): Promise<Sides | undefined> {
  const { record, raw } = connection;
  const gone = new Cancellation();
  const onClose = () => gone.abort(connection.missed ?? clientGone());
  raw.once('close', onClose);
  const opened = openClient(connection, route, peek);
  const options = {
    sni: hostNameOf(record.sni),
    passthrough: route.kind === 'passthrough',
    wildcardLabel,
    signal: gone,
  };
  let dialling =
    route.kind === 'terminate' && route.outbound.early
      ? dialFor(connection, route.outbound, { ...options, clientReady: opened })
      : undefined;
  // A client that fails ends the dial too; whoever is told first is told below.
  dialling?.catch(ignore);
  const client = await opened.catch((error) => {
    gone.abort(error);
    throw error;
  });
  if (client === undefined) {
    gone.abort(clientGone());
    return undefined;
  }
  record.phase = 'connect';
  dialling ??= dialFor(connection, route.outbound, options);
  const dialled = await dialling;
  connection.undo.push(dialled.release);
  await join(connection, route, { client, upstream: dialled.prepared, signal: gone });
  raw.off('close', onClose);
  record.connectMs = milliseconds(dialled.connectMs);
  record.upstreamTls = dialled.prepared.tls;
  if (route.outbound.upstream.config.on_down === 'close') {
    connection.undo.push(closeWhenDown(connection, dialled.endpoint));
  }
  const { cancels } = connection.listener;
  if (cancels) {
    const session = { outbound: route.outbound, endpoint: dialled.endpoint, sni: options.sni };
    connection.undo.push(cancels.sessions.add(session, record.client.address));
  }
  return { client, upstream: dialled.prepared.stream };
}

/** With `on_down: close`: the function returned ends the watch. */
function closeWhenDown(connection: Connection, { label, state }: Endpoint): () => void {
  return watchDown(state, (reason) =>
    endConnection(connection, 'ERR_UPSTREAM_DOWN', `${label} is down: ${reason}`, 'upstream'),
  );
}

/** The client's side, ready for payload; undefined if it was a CancelRequest after all. */
async function openClient(
  connection: Connection,
  route: Served<Route>,
  peek: Peek,
): Promise<Stream | undefined> {
  const { raw, listener } = connection;
  peek.release();
  if (route.kind !== 'terminate') {
    clearDeadline(connection);
    raw.allowHalfOpen = true;
    // Where nothing was peeked, nothing was read yet: a client that resets is to be noticed while the upstream is dialled.
    raw.read(0);
    return { stream: raw, raw };
  }
  setDeadline(connection, listener.config.timeouts.handshake, 'handshake');
  const client = await terminate(connection, route);
  const opening = await readWithinTls(connection, client);
  if (opening.kind === 'cancel') await cancel(connection, client.stream, opening.message);
  clearDeadline(connection);
  return opening.kind === 'cancel' ? undefined : client;
}

async function terminate(connection: Connection, route: TerminateRoute): Promise<Stream> {
  const { record, raw, hello } = connection;
  record.phase = 'handshake';
  await enterGate(connection);
  const startedAt = performance.now();
  const done = await route.policy.handshake(raw, hello ?? unannounced);
  record.handshakeMs = milliseconds(performance.now() - startedAt);
  record.tls = { version: done.version, cipher: done.cipher, resumed: done.resumed };
  record.alpn = done.alpn;
  connection.clientCert = done.clientCert;
  record.clientCert = done.clientCert;
  connection.stream = { stream: done.stream, raw };
  connection.lastAlert = done.lastAlert;
  record.phase = 'authorize';
  if (done.refusal) throw done.refusal;
  if (route.authorizer) await route.authorizer.check(identityOf(connection));
  forgetLastAlert(connection);
  if (done.stream.destroyed) throw clientGone();
  return connection.stream;
}

function forgetLastAlert(connection: Connection): void {
  connection.lastAlert?.forget();
  connection.lastAlert = undefined;
}

/**
 * Waits until it may be computed for: a ClientHello is answered in the turn of the event loop in which TLS is handed it. The
 * deadline runs on, and a client that goes meanwhile is passed over.
 */
async function enterGate(connection: Connection): Promise<void> {
  const { raw, listener } = connection;
  const turn = listener.handshakes.enter(() => raw.destroyed);
  if (turn === undefined) return;
  await new Promise<void>((resolve, reject) => {
    const onClose = () => {
      turn.giveUp();
      // It was not the client that was slow.
      if (connection.missed?.code === 'ERR_TLS_HANDSHAKE_TIMEOUT') connection.missed = noTurn(listener);
      reject(clientGone());
    };
    raw.once('close', onClose);
    turn.come.then(() => {
      raw.off('close', onClose);
      resolve();
    });
  });
}

function noTurn({ name, config }: Listener): ProxyError {
  const { handshakes } = config.limits;
  return new ProxyError('ERR_HANDSHAKE_LIMIT', {
    side: 'proxy',
    message: `this worker answers ${handshakes} ClientHellos in one turn of its event loop, and this one's turn came too late`,
    hint: `start more workers, bound clients by limits.rate_per_ip, or raise listeners.${name}.limits.handshakes`,
  });
}

/** Forwards it, then closes: that is how a client learns that the server has it. */
async function cancel(connection: Connection, stream: Socket, message: Buffer): Promise<void> {
  clearDeadline(connection);
  await forwardCancel(connection, message);
  closeWith(stream, undefined);
}

async function copy(connection: Connection, { client, upstream }: Sides): Promise<void> {
  const { record, listener } = connection;
  const { idle, half_close: halfClose, keepalive: keepAlive } = listener.config.timeouts;
  record.phase = 'splice';
  // Idle connections are many: what has been decided need not be remembered.
  connection.hello = undefined;
  connection.meeting = undefined;
  connection.splice = new Splice(client, upstream, record.bytes, { idle, halfClose, keepAlive });
  if (listener.accessLog.opened) logOpened(listener.logger, record);
  const end: SpliceEnd = await connection.splice.done;
  record.side = end.side;
  record.code = end.code;
  record.error = end.error;
  record.hint = end.hint;
  tellFirst(connection);
}

/** The one place where a connection fails: notes why and tells the client. */
function fail(connection: Connection, thrown: unknown): void {
  const { record, listener } = connection;
  const error = connection.missed ?? thrown;
  if (error instanceof ProxyError) {
    record.side = error.side;
    record.code = error.code as ConnectionCode; // the others are thrown before anything is served
    record.error = error.message;
    record.hint = error.hint;
    tellFirst(connection);
  } else {
    record.code = 'ERR_INTERNAL';
    record.error = error instanceof Error ? error.message : String(error);
    listener.logger.error({ conn: record.conn, err: error }, 'internal error: please report it');
  }
  turnAway(connection, error);
}

/** Where something can be done, the first failure of a route is told by a line of its own, even if the access log is off. */
function tellFirst({ listener, record }: Connection): void {
  const { conn, route, code, error, hint } = record;
  if (hint === undefined) return;
  const key = `${route ?? ''} ${code}`;
  if (listener.told.has(key)) return;
  listener.told.add(key);
  listener.logger.info(
    { conn, listener: listener.name, route, code, error, hint },
    'first failure of its kind',
  );
}

/** Counts it out once its socket has closed, and writes its line. */
function close(connection: Connection): void {
  const { raw, listener, record } = connection;
  clearDeadline(connection);
  listener.open.delete(connection);
  record.isProbe = isProbe(connection);
  listener.metrics.closed(record);
  if (raw.closed) leave(connection);
  else raw.once('close', () => leave(connection));
  if (!listener.accessLog.closed) return;
  logClosed(listener.logger, record);
}

function leave({ undo }: Connection): void {
  for (const step of undo) step();
}

function clientGone(): ProxyError {
  return new ProxyError('ERR_CLIENT_CLOSED', {
    side: 'client',
    message: 'the client closed the connection before it was established',
  });
}

function ignore(): void {}
