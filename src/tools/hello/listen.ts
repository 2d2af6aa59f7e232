/** Listens for clients, to read the ClientHello of each. */
import { createServer, type Server, type Socket } from 'node:net';
import { ProxyError } from '../../errors.ts';
import { formatAddress, normalizeAddress } from '../../net/address.ts';
import { closeWith, tlsAlert } from '../../net/stream.ts';
import type { EndpointAddress } from '../../net/written-address.ts';
import { createHelloReader } from '../../peek/client-hello.ts';
import { Peek } from '../../peek/peek.ts';
import type { Carrier, Protocol } from '../../protocols/protocol.ts';
import { protocols } from '../../protocols/table.ts';
import type { Heard } from '../captures/input.ts';

/** Longer than any real client needs, but short enough to wait for. */
const patienceMs = 10_000;

/** What one client sent: a hello, or something else. `closed` resolves when its socket has closed. */
type HeardLive = Heard & { readonly closed: Promise<unknown> };

/**
 * Binds the address, and calls `hear` for each client, in the order in which hellos are complete. Ignores
 * clients that leave without sending anything. With `starttls` it speaks that protocol first. All clients get
 * an alert, since nothing is served here. Rejects with the system's error.
 */
export async function listenForHellos(
  endpoint: EndpointAddress,
  starttls: Protocol | undefined,
  hear: (heard: HeardLive) => void,
): Promise<Server> {
  const server = createServer({ noDelay: true }, (socket) => {
    readFrom(socket, starttls).then((heard) => heard && hear(heard));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen('path' in endpoint ? { path: endpoint.path } : endpoint, resolve);
  });
  return server;
}

async function readFrom(socket: Socket, starttls: Protocol | undefined): Promise<HeardLive | undefined> {
  const origin = { from: addressOf(socket) };
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const peek = new Peek(socket);
  // To Peek, a socket destroyed without an error is a client that left.
  const timer = setTimeout(() => socket.destroy(), patienceMs);
  try {
    const carrier = await answer(peek, starttls);
    const readHello = createHelloReader();
    const read = await peek.read((bytes) => readHello(carrier ? carrier.unwrap(bytes) : bytes));
    const alert = tlsAlert('access_denied');
    closeWith(socket, carrier ? carrier.wrap(alert) : alert);
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

/**
 * Protocols in which clients speak first are recognized by their first byte, which no ClientHello begins
 * with. Returns what carries the ClientHello, if anything does.
 */
async function answer(peek: Peek, starttls: Protocol | undefined): Promise<Carrier | undefined> {
  const protocol = starttls ?? spokenBy(await peek.read(([first]) => first));
  // Plain clients are reported too, as having sent no ClientHello.
  const meeting = protocol?.meet({ takesPlain: true, takesGlued: true });
  await meeting?.accept(peek);
  return meeting?.carrier;
}

function spokenBy(first: number): Protocol | undefined {
  return Object.values<Protocol>(protocols).find(({ firstByte }) => firstByte === first);
}

function addressOf({ remoteAddress, remotePort = 0 }: Socket): string {
  if (remoteAddress === undefined) return 'a unix socket';
  return formatAddress({ address: normalizeAddress(remoteAddress), port: remotePort });
}
