/** Visits that are there to be turned away: each must be, in time, and none may reach an endpoint. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { createSecureContext, connect as tlsConnect } from 'node:tls';
import { startup } from '../support/postgres.ts';
import { exchange } from './conversation.ts';
import type { Ledger, Visit } from './ledger.ts';
import { encodeRequest } from './protocol.ts';
import { pump } from './pump.ts';
import type { ListenerName } from './site.ts';
import type { Stage } from './stage.ts';
import { requestOf } from './visits.ts';
import { open, type Way } from './ways.ts';

/** Longer than any deadline of the proxy's. */
const patienceMs = 90_000;

/** One after the other, whenever it is called. */
export async function createHostile(stage: HostileStage, ledger: Ledger): Promise<() => Promise<void>> {
  const hello = await helloFor('ec.soak.example');
  const kinds = [
    ...rawKinds(stage, hello, ledger),
    ...refusedKinds(stage, ledger),
    ...abortedKinds(stage, ledger),
  ];
  let turn = 0;
  return () => {
    turn += 1;
    return kinds[turn % kinds.length]?.() ?? Promise.resolve();
  };
}

const hastyReset = 'a hello, then a reset';

type HostileStage = Pick<Stage, 'proxy' | 'ways' | 'credentials'>;
type Kinds = (() => Promise<void>)[];

function rawKinds({ proxy }: HostileStage, hello: Buffer, ledger: Ledger): Kinds {
  const raw = (name: string, listener: ListenerName, talk: (socket: Socket) => void) => () =>
    rawVisit(ledger, name, proxy.port(listener), talk);
  return [
    raw('garbage', 'tls', (socket) => socket.write(randomBytes(700))),
    raw('half a hello, then a reset', 'tls', (socket) =>
      socket.write(hello.subarray(0, 90), () => setTimeout(() => socket.resetAndDestroy(), 250)),
    ),
    raw('half a hello, then a FIN', 'tls', (socket) => socket.end(hello.subarray(0, 90))),
    raw(hastyReset, 'tls', (socket) =>
      socket.write(hello, () => setTimeout(() => socket.resetAndDestroy(), 3)),
    ),
    raw('a hello, then silence', 'tls', (socket) => socket.write(hello)),
    raw('a slow hello', 'tls', (socket) => drip(socket, hello)),
    raw('silence', 'tls', () => {}),
    raw('a plain client', 'tls', (socket) => socket.write('hello\r\n')),
    raw('no PROXY header', 'proxied', (socket) => socket.write(hello)),
    raw('a broken PROXY header', 'proxied', (socket) => socket.write('PROXY TCP4 1.2.3.4 nowhere 1 2\r\n')),
    raw('half a PROXY header', 'proxied', (socket) => socket.write('PROXY TC')),
    raw('PostgreSQL without TLS', 'postgres', (socket) => socket.write(startup())),
  ];
}

function refusedKinds({ ways, credentials }: HostileStage, ledger: Ledger): Kinds {
  const { ca, notAllowed, revoked, stranger, unpinned } = credentials;
  const refused = (name: string, way: Way) => () => refusedVisit(ledger, name, way);
  const named = (name: string): Way => ({
    ...ways.ec,
    name,
    tls: { ...ways.ec.tls, servername: `${name}.soak.example` },
  });
  const presenting = (way: Way, { cert, chain, key }: { cert: string; chain: string; key: string }): Way => ({
    ...way,
    tls: { ...way.tls, secureContext: createSecureContext({ ca: ca.cert, cert: chain || cert, key }) },
  });
  return [
    refused('an unknown name', named('unknown')),
    refused('a denied name', named('denied')),
    refused('no certificate', {
      ...ways.ec,
      tls: { ...ways.pki.tls, secureContext: undefined, ca: ca.cert },
    }),
    refused('a stranger’s certificate', presenting(ways.pki, stranger)),
    refused('a revoked certificate', presenting(ways.mutual, revoked)),
    refused('a certificate that no rule allows', presenting(ways.pki, notAllowed)),
    refused('a key that is not pinned', presenting(ways.pins, unpinned)),
  ];
}

function abortedKinds({ ways }: HostileStage, ledger: Ledger): Kinds {
  return [
    () => abortedUpload(ledger, ways.ec),
    () => abortedUpload(ledger, ways.plain),
    () => abortedDownload(ledger, ways.mutual),
    () => abortedDownload(ledger, ways.pass),
  ];
}

/** Bytes that are no connection: whatever comes back, it must end. */
async function rawVisit(
  ledger: Ledger,
  name: string,
  port: number,
  talk: (socket: Socket) => void,
): Promise<void> {
  const visit = ledger.begin(name, name === hastyReset ? 'hasty' : 'hostile');
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  let said = 0;
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    socket.destroy();
  }, patienceMs);
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    said += chunk.length;
  });
  socket.once('connect', () => {
    visit.ports.push(socket.localPort ?? 0);
    talk(socket);
  });
  await once(socket, 'close').catch(() => {});
  clearTimeout(timer);
  if (late) ledger.turnedAway(visit, `still open after ${patienceMs} ms`);
  // A server's first flight may come back, an alert, or an ErrorResponse; payload would be more.
  else ledger.turnedAway(visit, said > 8192 ? `${said} bytes came back` : undefined);
}

async function refusedVisit(ledger: Ledger, name: string, way: Way): Promise<void> {
  const visit = ledger.begin(name, 'hostile');
  let raw: Socket | undefined;
  const timer = setTimeout(() => raw?.destroy(), patienceMs);
  try {
    const { stream } = await open(way, (connected) => {
      raw = connected;
      visit.ports.push(connected.localPort ?? 0);
    });
    await exchange(stream, requestOf(visit, { up: 100, down: 100 }), visit.progress);
    ledger.turnedAway(visit, 'it was served');
  } catch {
    ledger.turnedAway(visit, visit.progress.greeting && 'an endpoint answered it');
  } finally {
    clearTimeout(timer);
    raw?.destroy();
  }
}

/** Promises a megabyte and resets in the middle: the endpoint must see a reset, and tells if it saw a clean end. */
function abortedUpload(ledger: Ledger, way: Way): Promise<void> {
  return aborted(ledger, way, 'reset in an upload', { up: 1024 * 1024, down: 0 }, 300_000);
}

/** Asks for megabytes and resets after the first. */
function abortedDownload(ledger: Ledger, way: Way): Promise<void> {
  return aborted(ledger, way, 'reset in a download', { up: 10, down: 8 * 1024 * 1024 }, 10);
}

async function aborted(
  ledger: Ledger,
  way: Way,
  name: string,
  sizes: { up: number; down: number },
  sent: number,
): Promise<void> {
  const visit: Visit = ledger.begin(name, 'hostile');
  const from = performance.now();
  try {
    const { raw, stream } = await open(way, (connected) => visit.ports.push(connected.localPort ?? 0));
    const request = requestOf(visit, sizes);
    stream.write(encodeRequest(request));
    await pump(stream, request.seed, sent);
    await Promise.race([once(stream, 'data'), once(stream, 'close')]);
    raw.resetAndDestroy();
    ledger.turnedAway(visit);
  } catch (error) {
    const seconds = (performance.now() - from) / 1000;
    ledger.turnedAway(visit, `could not begin within ${seconds.toFixed(1)} s: ${(error as Error).message}`);
  }
}

/** The ClientHello that Node would send. */
function helloFor(servername: string): Promise<Buffer> {
  return new Promise((resolve) => {
    const socket = new Duplex({ read() {}, write: (chunk: Buffer) => resolve(chunk) });
    tlsConnect({ socket, servername }).on('error', () => {});
  });
}

async function drip(socket: Socket, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length && !socket.destroyed; at += 1) {
    socket.write(bytes.subarray(at, at + 1));
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
