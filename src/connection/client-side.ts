/**
 * The client's side: its socket or, if the route terminates TLS, the decrypted stream of a client we let in.
 */

import type { Served } from '../decide/decide.ts';
import { ProxyError } from '../errors.ts';
import type { Stream } from '../net/stream.ts';
import { milliseconds } from '../observe/access-log.ts';
import type { ClientHello } from '../peek/client-hello.ts';
import type { Peek } from '../peek/peek.ts';
import { type Terminated, unannounced } from '../tls/server/terminate.ts';
import { identityOf } from './authorize-identity.ts';
import { serveCancel } from './cancel-request.ts';
import { clearDeadline, setDeadline } from './deadline.ts';
import { clientGone } from './ending.ts';
import type { Listener, Route } from './listener.ts';
import { readWithinTls } from './opening.ts';
import type { Connection } from './state.ts';

type TerminateRoute = Extract<Route, { kind: 'terminate' }>;

/**
 * The client's side, ready for payload; undefined if it turned out to be a CancelRequest. `hello`
 * is undefined for plain clients.
 */
export function openClient(
  connection: Connection,
  route: Served<Route>,
  hello: ClientHello | undefined,
  peek: Peek,
): Stream | Promise<Stream | undefined> {
  peek.release();
  return route.kind === 'terminate' ? terminate(connection, route, hello) : leaveAsItIs(connection);
}

function leaveAsItIs(connection: Connection): Stream {
  const { raw } = connection;
  clearDeadline(connection);
  raw.allowHalfOpen = true;
  // If nothing was peeked, nothing was read, and we would not notice a reset while we dial.
  raw.read(0);
  return { stream: raw, raw };
}

async function terminate(
  connection: Connection,
  route: TerminateRoute,
  hello: ClientHello | undefined,
): Promise<Stream | undefined> {
  const { record, raw, listener } = connection;
  setDeadline(connection, listener.config.timeouts.handshake, 'handshake');
  record.phase = 'handshake';
  const turn = enterGate(connection);
  if (turn) await turn;
  const startedAt = performance.now();
  const over = connection.meeting?.carrier?.over(raw);
  const done = await route.policy.handshake(raw, hello ?? unannounced, { name: record.sni, over });
  record.handshakeMs = milliseconds(performance.now() - startedAt);
  const client = note(connection, done);
  if (done.refusal) throw done.refusal;
  if (route.authorizer) await route.authorizer.check(identityOf(connection));
  forgetLastAlert(connection);
  if (done.stream.destroyed) throw clientGone();
  // Most protocols say nothing at this point, so most connections need not wait here.
  const opening = connection.meeting?.within ? await readWithinTls(connection, client) : undefined;
  if (opening?.kind === 'cancel') return serveCancel(connection, client.stream, opening.message);
  clearDeadline(connection);
  return client;
}

function note(connection: Connection, done: Terminated): Stream {
  const { record, raw } = connection;
  const { stream, version, cipher, resumed } = done;
  record.tls = { version, cipher, resumed };
  record.alpn = done.alpn;
  connection.clientCert = done.clientCert;
  record.clientCert = done.clientCert;
  connection.lastAlert = done.lastAlert;
  record.phase = 'authorize';
  connection.stream = { stream, raw };
  return connection.stream;
}

function forgetLastAlert(connection: Connection): void {
  connection.lastAlert?.forget();
  connection.lastAlert = undefined;
}

/**
 * Waits for a turn to compute, because OpenSSL answers a ClientHello synchronously, in the very turn of the
 * event loop in which it gets it. The deadline keeps running, and a client that leaves meanwhile is skipped.
 */
function enterGate(connection: Connection): Promise<void> | undefined {
  const { raw, listener } = connection;
  const turn = listener.handshakes.enter(() => raw.destroyed);
  if (turn === undefined) return undefined;
  return new Promise<void>((resolve, reject) => {
    const onClose = () => {
      turn.giveUp();
      // We were slow, not the client.
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
    message: `this worker answers ${handshakes} ClientHellos per turn of its event loop, and this one's turn came too late`,
    hint: `start more workers, limit clients by limits.rate_per_ip, or raise listeners.${name}.limits.handshakes`,
  });
}
