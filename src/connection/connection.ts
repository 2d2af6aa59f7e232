/**
 * One connection, from accept to close. It reads top to bottom: each step returns what the next one needs.
 * Steps throw; only `serveConnection` catches.
 */
import type { Socket } from 'node:net';
import { admitAddress, admitPlain, chooseRoute, type Decision } from '../decide/decide.ts';
import { enforce, errorOf } from '../decide/refusals.ts';
import { ProxyError } from '../errors.ts';
import { logOpened } from '../observe/access-log.ts';
import { type ClientHello, createHelloReader, type ReadHello } from '../peek/client-hello.ts';
import { ja4 } from '../peek/ja4.ts';
import { Peek } from '../peek/peek.ts';
import { perConnection } from '../process/descriptors.ts';
import type { Opening } from '../protocols/protocol.ts';
import { Splice } from '../splice/splice.ts';
import { serveCancel } from './cancel-request.ts';
import { onDeadline, setDeadline } from './deadline.ts';
import { close, fail, finish, watchSocket } from './ending.ts';
import { connectSides, type Sides } from './join.ts';
import type { Listener, Route } from './listener.ts';
import { watchLogin } from './login-watch.ts';
import { readOpening, readProxyHeader } from './opening.ts';
import { type Connection, createConnection, factsOf } from './state.ts';

/** Serves one client. Never rejects, and owns both sockets. */
export async function serveConnection(raw: Socket, listener: Listener): Promise<void> {
  const connection = createConnection(raw, listener, onDeadline);
  listener.open.add(connection);
  listener.entering.enter();
  listener.metrics.opened(listener.name);
  watchSocket(connection);
  try {
    const sides = await establish(connection);
    if (sides) finish(connection, await copy(connection, sides).done);
  } catch (error) {
    fail(connection, error);
  } finally {
    close(connection);
  }
}

/**
 * Everything before the payload; undefined if it was a CancelRequest, which has no payload. A function of its
 * own, so that all it needed can be freed when it returns. A step that has nothing to wait for returns no
 * promise: a promise for each would cost a plain connection a tenth more.
 */
async function establish(connection: Connection): Promise<Sides | undefined> {
  const { raw, listener } = connection;
  try {
    setDeadline(connection, listener.config.timeouts.client_hello, 'client_hello');
    const entered = enter(connection);
    if (entered) await entered;
    const peek = new Peek(raw);
    if (listener.rules.trustsPeer) await takeProxyHeader(connection, peek);
    const admitted = admit(connection);
    if (admitted) await admitted;
    const opened = open(connection, peek);
    const opening = take(connection, opened instanceof Promise ? await opened : opened);
    if (opening.kind === 'cancel') return await serveCancel(connection, raw, opening.message);
    const hello = opening.kind === 'tls' ? note(connection, await peekHello(connection, peek)) : undefined;
    return await connectSides(connection, decideRoute(connection), hello, peek);
  } finally {
    listener.entering.leave();
  }
}

/** Takes the places that any connection needs. */
function enter(connection: Connection): Promise<void> | undefined {
  const { admission, descriptors, name } = connection.listener;
  // Before any wait: a waiting connection already holds its descriptor.
  if (!descriptors.take(perConnection)) {
    throw new ProxyError('ERR_DESCRIPTORS_EXHAUSTED', {
      side: 'proxy',
      message: `the limit of open files leaves no room for another connection: ${descriptors.used()} of ${descriptors.capacity} descriptors are in use`,
      hint: `raise \`ulimit -n\` (LimitNOFILE=), or lower listeners.${name}.limits.connections`,
    });
  }
  connection.isCounted = true;
  const entered = admission.enter();
  if (entered) return entered.then(() => void connection.undo.push(admission.leave));
  connection.undo.push(admission.leave);
  return undefined;
}

/** Takes the client's address from the PROXY header. */
async function takeProxyHeader(connection: Connection, peek: Peek): Promise<void> {
  const { record, listener } = connection;
  record.phase = 'proxy_header';
  const header = await readProxyHeader(listener.rules, record.client.address, peek);
  // A header with nothing after it is a load balancer's health check, so it still counts as a probe.
  connection.headerBytes = header.length;
  if (header.client === undefined) return;
  record.peer = record.client;
  record.client = header.client;
  record.destination = header.destination;
}

function admit(connection: Connection): Promise<void> | undefined {
  const { record, listener, undo } = connection;
  // Again, because the header may have changed the client's address.
  record.phase = 'admit';
  const { address } = record.client;
  enforce(admitAddress(listener.rules, address));
  const admitted = listener.admission.admit(address);
  if (typeof admitted === 'object') return admitted.then((leave) => void undo.push(leave));
  if (admitted) undo.push(admitted);
  return undefined;
}

function open({ record, listener, meeting }: Connection, peek: Peek): Opening | Promise<Opening> {
  record.phase = meeting ? 'starttls' : 'peek';
  return readOpening(listener.rules, meeting, peek);
}

function take(connection: Connection, opening: Opening): Opening {
  connection.opening = opening.kind;
  if (opening.kind === 'plain') enforce(admitPlain(connection.listener.rules));
  return opening;
}

function peekHello({ record, meeting }: Connection, peek: Peek): Promise<ReadHello> {
  record.phase = 'peek';
  const read = createHelloReader();
  const carrier = meeting?.carrier;
  return peek.read(carrier ? (bytes) => read(carrier.unwrap(bytes)) : read);
}

function note(connection: Connection, { hello }: ReadHello): ClientHello {
  const { record, meeting } = connection;
  record.sni = hello.sni ?? meeting?.host;
  record.ja4 = ja4(hello);
  connection.offered = hello.alpn;
  return hello;
}

function decideRoute(connection: Connection): Decision<Route> {
  const { record, listener } = connection;
  record.phase = 'route';
  const decided = chooseRoute(listener.rules, factsOf(connection));
  record.route = decided.route?.label;
  if (decided.kind === 'refusal') throw errorOf(decided);
  connection.decision = decided;
  return decided;
}

function copy(connection: Connection, { client, upstream }: Sides): Splice {
  const { record, listener } = connection;
  const { idle, half_close: halfClose, keepalive: keepAlive } = listener.config.timeouts;
  record.phase = 'splice';
  // There can be very many idle connections: drop whatever they no longer need.
  connection.meeting = undefined;
  const splice = new Splice(client, upstream, record.bytes, { idle, halfClose, keepAlive });
  connection.splice = splice;
  watchLogin(connection, upstream);
  if (listener.accessLog.opened) logOpened(listener.logger, record);
  return splice;
}
