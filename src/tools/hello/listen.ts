/** Listens for clients, to read the ClientHello of each. */
import { createServer, type Server, type Socket } from 'node:net';
import type { Endpoint } from '../../config/schema/values.ts';
import { ProxyError } from '../../errors.ts';
import { formatAddress, normalizeAddress } from '../../net/address.ts';
import { closeWith, tlsAlert } from '../../net/stream.ts';
import { createHelloReader } from '../../peek/client-hello.ts';
import { Peek } from '../../peek/peek.ts';
import { acceptSsl, readPreamble, refuse } from '../../protocols/postgres/preamble.ts';
import type { Heard } from '../captures/input.ts';

/** Longer than any client takes that means it, shorter than anyone waits. */
const patienceMs = 10_000;

/** What one client sent: a hello, or bytes that are none. `closed` resolves when its socket has closed. */
export type HeardLive = Heard & { readonly closed: Promise<unknown> };

/**
 * Binds the address; `hear` is called for each client, in the order in which their hellos are whole. Clients that
 * leave without a byte are passed over. All are told by an alert that nobody serves here. Rejects with the system's error.
 */
export async function listenForHellos(endpoint: Endpoint, hear: (heard: HeardLive) => void): Promise<Server> {
  const server = createServer({ noDelay: true }, (socket) => {
    readFrom(socket).then((heard) => heard && hear(heard));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen('path' in endpoint ? { path: endpoint.path } : endpoint, resolve);
  });
  return server;
}

async function readFrom(socket: Socket): Promise<HeardLive | undefined> {
  const origin = { from: addressOf(socket) };
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const peek = new Peek(socket);
  // A socket without an error is to Peek a client that left.
  const timer = setTimeout(() => socket.destroy(), patienceMs);
  try {
    await answerPostgres(socket, peek);
    const read = await peek.read(createHelloReader());
    closeWith(socket, tlsAlert('access_denied'));
    return { origin, closed, read: { ...read, client: undefined } };
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    closeWith(socket, error.code.startsWith('ERR_CLIENT_HELLO') ? tlsAlert('decode_error') : undefined);
    return peek.length === 0 ? undefined : { origin, closed, error };
  } finally {
    clearTimeout(timer);
    peek.detach();
  }
}

/** A PostgreSQL client asks first, for GSSAPI perhaps and for TLS; no ClientHello begins with 0 as its requests do. */
async function answerPostgres(socket: Socket, peek: Peek): Promise<void> {
  while ((await peek.read((bytes) => bytes[0])) === 0) {
    const request = await peek.read(readPreamble);
    if (request.kind !== 'ssl_request' && request.kind !== 'gss_request') return;
    peek.drop(request.length);
    socket.write(request.kind === 'ssl_request' ? acceptSsl : refuse);
  }
}

function addressOf({ remoteAddress, remotePort = 0 }: Socket): string {
  if (remoteAddress === undefined) return 'a unix socket';
  return formatAddress({ address: normalizeAddress(remoteAddress), port: remotePort });
}
