/**
 * Whatever a client or an upstream does to its own connection, and at whatever moment, others go on: garbage, resets and
 * ends in each phase, bad records within TLS, hundreds of times. Each is logged with its code, none is left open, and nothing
 * is thrown that nobody catches (on which the test runner fails). So it is with a fault of our own (here: a log that throws):
 * it ends the connection it happened in, with ERR_INTERNAL and a line that has the stack, to be reported; the client gets an
 * alert, and the next one is served.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { TLSSocket, connect as tlsConnect } from 'node:tls';
import { createLogger } from '../../src/observe/log.ts';
import { startWorker } from '../../src/worker/standalone.ts';
import { createAuthority } from '../support/certificates.ts';
import { capturedHello, helloMessage, inRecords, serverName } from '../support/client-hellos.ts';
import { tlsOpen } from '../support/clients.ts';
import { load } from '../support/configuration.ts';
import { eventually } from '../support/eventually.ts';
import type { LogLine } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { serverCredential, startTerminating } from '../support/terminating.ts';
import { closedPort, tcpUpstream } from '../support/upstream.ts';

const ca = await createAuthority();
const client = await ca.issue({ cn: 'client' });

/** What is done to a connected socket, and the codes that the proxy may tell of it ('' if it may end well). */
type Fault = readonly [act: (raw: Socket) => unknown, codes: RegExp];

const end = (raw: Socket) => void raw.end();
const reset = (raw: Socket) => void raw.resetAndDestroy();
const wait = () => {};

/** Sends in the clear, and goes on when that has arrived. */
function sends(bytes: Buffer | string, then: (raw: Socket) => void, codes: RegExp): Fault {
  const act = async (raw: Socket) => {
    raw.write(bytes);
    await noticed();
    then(raw);
  };
  return [act, codes];
}

/**
 * Turns of the loop, which is the proxy's too, until it has seen what came so far: it accepts one connection a turn, and no
 * more are opened at a time than there are faults.
 */
async function noticed(): Promise<void> {
  for (const _ of Object.keys(faults)) await nextTurn();
  await nextTurn();
}

/** Goes on after a handshake. */
function secures(servername: string, then: (raw: Socket) => void, codes: RegExp): Fault {
  return [(raw) => handshake(raw, servername).then(() => then(raw)), codes];
}

/** Goes on after a handshake and some payload, which comes back if `answered`. */
function talks(servername: string, then: (raw: Socket) => void, codes: RegExp, answered = true): Fault {
  const act = async (raw: Socket) => {
    const tls = await handshake(raw, servername);
    tls.write('payload');
    if (answered) await once(tls, 'data');
    then(raw);
  };
  return [act, codes];
}

async function handshake(raw: Socket, servername: string): Promise<TLSSocket> {
  const { cert, key } = client;
  const tls = tlsConnect({ socket: tapped(raw), servername, rejectUnauthorized: false, cert, key });
  await once(tls, 'secureConnect');
  return tls.on('error', () => {});
}

/** The socket as a stream of its own: TLS runs over that, and others can write past it. */
function tapped(raw: Socket): Duplex {
  const tap = new Duplex({
    read() {},
    write: (chunk, _encoding, done) => void raw.write(chunk, () => done()),
    final: (done) => void raw.end(() => done()),
  });
  raw.on('data', (chunk) => tap.push(chunk));
  raw.on('close', () => tap.destroy());
  return tap.on('error', () => {});
}

const hello = capturedHello('openssl-tls13');
/** Offers nothing that can be agreed on. */
const poorHello = inRecords(helloMessage({ extensions: [serverName('open.example')] }));
const nonsense = Buffer.alloc(64, 0x5a);
/** Application data and handshake messages that no key fits. */
const badRecord = Buffer.concat([Buffer.from([23, 3, 3, 0, 64]), nonsense]);
const badMessage = Buffer.concat([Buffer.from([22, 3, 3, 0, 64]), nonsense]);
const alert = Buffer.from([21, 3, 3, 0, 2, 2, 40]);
const writes = (bytes: Buffer | string) => (raw: Socket) => void raw.write(bytes);

const gone = /^ERR_CLIENT_(CLOSED|RESET)$/;
/** A reset that meets our session tickets shows as an end: their failed write takes the kernel's error with it. */
const goneOrEnded = /^(ERR_CLIENT_(CLOSED|RESET)|)$/;
const notTls = /^ERR_(NOT_TLS|CLIENT_HELLO_INVALID)$/;
const failed = /^ERR_TLS_HANDSHAKE$/;
const broken = /^ERR_CLIENT_(TLS|CLOSED)$/;

const faults: Readonly<Record<string, Fault>> = {
  'nothing, a reset': [reset, gone],
  'nothing, an end': [end, gone],
  HTTP: sends('GET / HTTP/1.1\r\n\r\n', wait, notTls),
  zeros: sends(Buffer.alloc(5000), wait, notTls),
  'a record of nonsense': sends(badMessage, wait, notTls),
  'half a hello, a reset': sends(hello.subarray(0, 40), reset, gone),
  'half a hello, an end': sends(hello.subarray(0, 40), end, gone),
  'a hello, a reset': sends(hello, reset, gone),
  'a hello, an end': sends(hello, end, gone),
  'a hello, an alert': sends(Buffer.concat([hello, alert]), wait, failed),
  'a hello, a bad record': sends(Buffer.concat([hello, badRecord]), wait, failed),
  'a hello, a bad message': sends(Buffer.concat([hello, badMessage]), wait, failed),
  'a hello that OpenSSL refuses': sends(poorHello, wait, /^ERR_TLS_/),
  'a handshake, a reset': secures('open.example', reset, goneOrEnded),
  'a handshake, an end': secures('open.example', end, goneOrEnded),
  'a handshake, a bad record': secures('open.example', writes(badRecord), broken),
  'a certificate, a reset': secures('strict.example', reset, goneOrEnded),
  'a certificate, a bad record': secures('strict.example', writes(badRecord), broken),
  'a check that waits, a bad record': secures('checked.example', writes(badRecord), broken),
  'payload, a reset': talks('open.example', reset, /^ERR_CLIENT_RESET$/),
  'payload, an end': talks('open.example', end, /^$/),
  'payload, a bad record': talks('open.example', writes(badRecord), /^ERR_CLIENT_TLS$/),
  'payload, plain text': talks('open.example', writes('hello? '.repeat(9)), /^ERR_CLIENT_TLS$/),
  'an upstream that resets': talks('resets.example', wait, /^ERR_UPSTREAM_RESET$/, false),
  'an upstream that breaks TLS': talks('breaks.example', wait, /^ERR_UPSTREAM_TLS$/, false),
};

test('a good connection lives through hundreds of bad ones, and they leave nothing behind', {
  timeout: 60_000,
}, async (t) => {
  const resets = await tcpUpstream(t, (raw) => raw.once('data', () => raw.resetAndDestroy()));
  const breaks = await tcpUpstream(t, (raw) => {
    const { cert, key } = serverCredential;
    const tls = new TLSSocket(tapped(raw), { isServer: true, cert, key });
    tls.on('error', () => {});
    tls.once('data', () => raw.write(badRecord));
  });
  const auth = { authority: 'clients' };
  const proxy = await startTerminating(t, {
    listeners: {
      one: [
        { sni: 'strict.example', tls: { client_auth: auth } },
        { sni: 'checked.example', tls: { client_auth: { ...auth, authorize: './waits.mjs' } } },
        { sni: 'resets.example', upstream: 'resets' },
        { sni: 'breaks.example', upstream: 'breaks' },
        {},
      ],
    },
    authorities: { clients: { ca: ca.cert } },
    files: { 'waits.mjs': 'export default () => new Promise((done) => setTimeout(done, 50, true));' },
    upstreams: {
      resets: { endpoints: [`127.0.0.1:${resets.port}`] },
      breaks: { endpoints: [`127.0.0.1:${breaks.port}`], tls: { verify: 'none' } },
    },
  });
  const good = await tlsOpen(proxy.port(), { servername: 'strict.example', credential: client });
  const codesOf = new Map<string, [name: string, codes: RegExp]>();
  for (let round = 0; round < 15; round += 1) {
    const closed = Object.entries(faults).map(async ([name, [act, codes]], index) => {
      // An address for each: a port of one address comes back to the next client at once after a reset.
      const localAddress = `127.0.${round}.${index + 2}`;
      const raw = connect({ port: proxy.port(), host: '127.0.0.1', localAddress });
      raw.on('error', () => {});
      raw.resume();
      const close = new Promise((resolve) => raw.once('close', resolve));
      await once(raw, 'connect');
      codesOf.set(`${localAddress}:${raw.localPort}`, [name, codes]);
      await noticed();
      await act(raw);
      await close;
    });
    assert.equal(await good.ask(`round ${round}`), `round ${round}`);
    await Promise.all(closed);
  }
  const lines = () => proxy.log.filter(({ msg }) => msg === 'connection');
  await eventually(() => assert.equal(lines().length, codesOf.size));
  for (const line of lines()) {
    const [name, codes] = codesOf.get(String(line['client'])) ?? ['unknown', /$./];
    assert.match(String(line['code'] ?? ''), codes, name);
  }
  assert.equal(await good.ask('still here'), 'still here');
  // The good one is all that is left to be cut.
  assert.equal(await proxy.drain(0), 1);
});

test('an exception that is none of ours', async (t) => {
  const { port } = await tcpUpstream(t, (socket) => socket.end('served'));
  const log: LogLine[] = [];
  let isBroken = true;
  const logger = createLogger('debug', {
    write(text) {
      const line: LogLine = JSON.parse(text);
      if (line.msg === 'dial failed' && isBroken) throw new RangeError('no space for this line');
      log.push(line);
    },
  });
  const { loaded, faults } = await load(
    t,
    `listeners:
  one: { bind: "127.0.0.1:0", routes: [{ tls: passthrough, upstream: two }] }
upstreams:
  two:
    endpoints: ["127.0.0.1:${await closedPort()}", { address: "127.0.0.1:${port}", priority: 1 }]
`,
  );
  assert.ok(loaded, faults.join('\n'));
  const worker = await startWorker(loaded, logger);
  t.after(() => worker.drain(0));
  const connect = async () => {
    const client = rawClient(t, worker.bound.get('one')?.[0]?.port ?? 0);
    client.socket.once('end', () => client.socket.end());
    client.socket.write(capturedHello('node-26'));
    return (await client.closed).received;
  };

  // The alert internal_error(80).
  assert.deepEqual(await connect(), Buffer.from([21, 3, 3, 0, 2, 2, 80]));
  await eventually(() => {
    const line = log.find(({ msg }) => msg === 'connection');
    const { level, phase, side, code, error, conn } = line ?? ({} as Partial<LogLine>);
    assert.deepEqual(
      { level, phase, side, code, error },
      {
        level: 'error',
        phase: 'connect',
        side: 'proxy',
        code: 'ERR_INTERNAL',
        error: 'no space for this line',
      },
    );
    const report = log.find(({ msg }) => msg.startsWith('internal error'));
    assert.equal(report?.['conn'], conn);
    assert.match(JSON.stringify(report?.['err']), /RangeError: no space.* at /);
  });

  isBroken = false;
  assert.equal(String(await connect()), 'served');
});
