/**
 * One connection, from accept to close. It reads top to bottom: each step returns what the next one needs.
 * Steps throw; only `serveConnection` catches.
 */
import type { Socket } from 'node:net';
import { admitAddress, admitPlain, chooseRoute, type Decision } from '../decide/decide.ts';
import { enforce, errorOf } from '../decide/refusals.ts';
import { ProxyError } from '../errors.ts';
import { logOpened } from '../observe/access-log.ts';
import { type ClientHello, createHelloReader } from '../peek/client-hello.ts';
import { ja4 } from '../peek/ja4.ts';
import { Peek } from '../peek/peek.ts';
import { perConnection } from '../process/descriptors.ts';
import type { Opening } from '../protocols/protocol.ts';
import { Splice } from '../splice/splice.ts';
import { serveCancel } from './cancel-request.ts';
import { setDeadline } from './deadline.ts';
import { close, fail, finish } from './ending.ts';
import { connectSides, type Sides } from './join.ts';
import type { Listener, Route } from './listener.ts';
import { readOpening, readProxyHeader } from './opening.ts';
import { type Connection, createConnection, factsOf } from './state.ts';

/** Serves one client. Never rejects, and owns both sockets. */
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

/**
 * Everything before the payload; undefined if it was a CancelRequest, which has no payload. A function of its
 * own, so that all it needed can be freed when it returns.
 */
async function establish(connection: Connection): Promise<Sides | undefined> {
  const { raw, listener } = connection;
  setDeadline(connection, listener.config.timeouts.client_hello, 'client_hello');
  await enter(connection);
  const peek = new Peek(raw);
  if (listener.rules.trustsPeer) await takeProxyHeader(connection, peek);
  await admit(connection);
  const opening = await open(connection, peek);
  if (opening.kind === 'cancel') return serveCancel(connection, raw, opening.message);
  const hello = opening.kind === 'tls' ? await peekHello(connection, peek) : undefined;
  const decision = decideRoute(connection);
  return connectSides(connection, decision, hello, peek);
}

/** Takes the places that any connection needs. */
async function enter(connection: Connection): Promise<void> {
  const { admission, descriptors, name } = connection.listener;
  // An 'error' that nobody listens for must not end the process. Each step checks the socket itself.
  connection.raw.on('error', ignore);
  // Before any wait: a waiting connection already holds its descriptor.
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

async function admit(connection: Connection): Promise<void> {
  const { record, listener } = connection;
  // Again, because the header may have changed the client's address.
  record.phase = 'admit';
  const { address } = record.client;
  enforce(admitAddress(listener.rules, address));
  const admitted = listener.admission.admit(address);
  const leave = typeof admitted === 'object' ? await admitted : admitted;
  if (leave) connection.undo.push(leave);
}

async function open(connection: Connection, peek: Peek): Promise<Opening> {
  const { record, listener, meeting } = connection;
  record.phase = meeting ? 'starttls' : 'peek';
  const opening = await readOpening(listener.rules, meeting, peek);
  connection.opening = opening.kind;
  if (opening.kind === 'plain') enforce(admitPlain(listener.rules));
  return opening;
}

async function peekHello(connection: Connection, peek: Peek): Promise<ClientHello> {
  const { record } = connection;
  record.phase = 'peek';
  const { hello } = await peek.read(createHelloReader());
  record.sni = hello.sni;
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

async function copy(connection: Connection, { client, upstream }: Sides): Promise<void> {
  const { record, listener } = connection;
  const { idle, half_close: halfClose, keepalive: keepAlive } = listener.config.timeouts;
  record.phase = 'splice';
  // There can be very many idle connections: drop whatever they no longer need.
  connection.meeting = undefined;
  connection.splice = new Splice(client, upstream, record.bytes, { idle, halfClose, keepAlive });
  if (listener.accessLog.opened) logOpened(listener.logger, record);
  finish(connection, await connection.splice.done);
}

function ignore(): void {}
