/**
 * A client that gets on by a byte now and then, in whatever step, is ended at the deadline, with the code and the phase of
 * that step and without a dial; one deadline covers all steps, so that getting on to the next one gains nothing. One that
 * reads nothing of its alert is gone a second later. Hundreds of such clients stop nobody else.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it, type TestContext, test } from 'node:test';
import { createAuthority } from '../support/certificates.ts';
import { capturedHello, helloMessage, inRecords, serverName } from '../support/client-hellos.ts';
import { echoUpstream, tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { cancelRequest, gssRequest, sslRequest, startup } from '../support/postgres.ts';
import { startProxy } from '../support/proxy.ts';
import { type RawClient, rawClient, sendInPieces } from '../support/raw-client.ts';
import { type Tls13Client, tls13Client } from '../support/tls13-client.ts';

const own = await ownCertificate('a.example');
const clients = await createAuthority();
const timeouts = { client_hello: '200ms', handshake: '200ms' };
const everyMs = 40;

async function slowProxy(t: TestContext, listener: object, tls: object = {}) {
  const upstream = await echoUpstream(t);
  const proxy = await startProxy(
    t,
    {
      certificates: own.sections.certificates,
      authorities: { clients: { ca: 'clients.crt' } },
      listeners: {
        in: { timeouts, ...listener, routes: [{ tls: { certificates: 'own', ...tls }, upstream: 'echo' }] },
      },
      upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
    },
    { ...own.files, 'clients.crt': clients.cert },
  );
  return { proxy, upstream };
}

/** A byte now and then, for as long as there is somebody to take it. */
function drip(t: TestContext, { socket }: RawClient, bytes: Buffer): void {
  let at = 0;
  const timer = setInterval(() => {
    if (!socket.destroyed && at < bytes.length) socket.write(bytes.subarray(at, ++at));
  }, everyMs);
  t.after(() => clearInterval(timer));
}

const fromBalancer = { accept_proxy_protocol: { from: '127.0.0.1' } };
const hello = capturedHello('node-26');
// Nobody's, which is 16 bytes; then it claims 200 more (TLVs).
const v2 = Buffer.concat([Buffer.from('0d0a0d0a000d0a515549540a200000c8', 'hex'), Buffer.alloc(200)]);

// With the version that OpenSSL wants to see behind a ServerHello of TLS 1.3: a wrong one ends the handshake at its fifth byte.
const encryptedRecord = Buffer.concat([Buffer.from([23, 3, 3, 0x3e, 0x80]), Buffer.alloc(16_000)]);

type Step = readonly [
  what: string,
  listener: object,
  sent: Buffer,
  dripped: Buffer,
  code: string,
  phase: string,
];

const steps: readonly Step[] = [
  [
    'a PROXY header, v1',
    fromBalancer,
    Buffer.alloc(0),
    Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n'),
    'ERR_PROXY_HEADER_TIMEOUT',
    'proxy_header',
  ],
  ['a PROXY header, v2', fromBalancer, Buffer.alloc(0), v2, 'ERR_PROXY_HEADER_TIMEOUT', 'proxy_header'],
  [
    'a hello behind a PROXY header',
    fromBalancer,
    Buffer.from('PROXY UNKNOWN\r\n'),
    hello,
    'ERR_CLIENT_HELLO_TIMEOUT',
    'peek',
  ],
  [
    'an SSLRequest',
    { starttls: 'postgres' },
    Buffer.alloc(0),
    sslRequest,
    'ERR_STARTTLS_TIMEOUT',
    'starttls',
  ],
  [
    'an SSLRequest behind a GSSENCRequest',
    { starttls: 'postgres' },
    gssRequest,
    sslRequest,
    'ERR_STARTTLS_TIMEOUT',
    'starttls',
  ],
  [
    'a CancelRequest',
    { starttls: 'postgres' },
    Buffer.alloc(0),
    cancelRequest(1, Buffer.alloc(256)),
    'ERR_STARTTLS_TIMEOUT',
    'starttls',
  ],
  [
    'a hello behind an SSLRequest',
    { starttls: 'postgres' },
    sslRequest,
    hello,
    'ERR_CLIENT_HELLO_TIMEOUT',
    'peek',
  ],
  ['a hello', {}, Buffer.alloc(0), hello, 'ERR_CLIENT_HELLO_TIMEOUT', 'peek'],
  [
    'a hello in records of a byte',
    {},
    Buffer.alloc(0),
    inRecords(helloMessage(), 1),
    'ERR_CLIENT_HELLO_TIMEOUT',
    'peek',
  ],
  ['a record behind a hello', {}, hello, encryptedRecord, 'ERR_TLS_HANDSHAKE_TIMEOUT', 'handshake'],
];

for (const [what, listener, sent, dripped, code, phase] of steps) {
  test(`byte by byte: ${what}`, async (t) => {
    const { proxy, upstream } = await slowProxy(t, listener);
    const client = rawClient(t, proxy.port());
    client.socket.write(sent);
    drip(t, client, dripped);
    assert.match((await client.closed).error ?? '', /^(ECONNRESET|EPIPE)$/);
    const line = await proxy.connectionLine();
    assert.deepEqual([line['code'], line['phase'], line['side']], [code, phase, 'client']);
    assert.equal(upstream.accepted, 0);
  });
}

const flights: readonly [
  what: string,
  listener: object,
  tls: object,
  bytes: (tls: Tls13Client) => Buffer[],
  code: string,
  phase: string,
][] = [
  ['its Finished', {}, {}, (tls) => [tls.finish()], 'ERR_TLS_HANDSHAKE_TIMEOUT', 'handshake'],
  [
    'its certificate, of which there is none',
    {},
    { client_auth: { authority: 'clients' } },
    (tls) => [tls.finish()],
    'ERR_TLS_HANDSHAKE_TIMEOUT',
    'handshake',
  ],
  [
    'a StartupMessage within TLS, in records of a byte',
    { starttls: 'postgres' },
    {},
    (tls) => {
      const finish = tls.finish();
      return [finish, Buffer.concat([...startup()].map((byte) => tls.seal(23, Buffer.from([byte]))))];
    },
    'ERR_STARTTLS_TIMEOUT',
    'starttls',
  ],
];
for (const [what, listener, tls, bytes, code, phase] of flights) {
  test(`byte by byte: ${what}`, async (t) => {
    const { proxy, upstream } = await slowProxy(t, listener, tls);
    const client = rawClient(t, proxy.port());
    const flight = bytes(await tls13Client(client, { alpn: ['postgresql'] }));
    if (flight.length > 1) client.socket.write(flight[0] as Buffer);
    drip(t, client, flight.at(-1) as Buffer);
    assert.match((await client.closed).error ?? '', /^(ECONNRESET|EPIPE)$/);
    const line = await proxy.connectionLine();
    assert.deepEqual([line['code'], line['phase'], line['side']], [code, phase, 'client']);
    assert.equal(upstream.accepted, 0);
  });
}

test('one that does not read its alert, does not close, and goes on sending is gone all the same', async (t) => {
  const { proxy, upstream } = await slowProxy(t, {}, {});
  const client = rawClient(t, proxy.port());
  client.socket.pause();
  client.socket.write(inRecords(helloMessage({ extensions: [serverName('a'), serverName('b')] })));
  drip(t, client, Buffer.alloc(100_000));
  // It notices by what it sends.
  const [error] = (await once(client.socket, 'error')) as [NodeJS.ErrnoException];
  assert.match(String(error.code), /^(ECONNRESET|EPIPE)$/);
  assert.equal((await proxy.connectionLine())['code'], 'ERR_CLIENT_HELLO_INVALID');
  assert.equal(upstream.accepted, 0);
});

test('one that reads nothing of the handshake is ended at the deadline', async (t) => {
  const { proxy, upstream } = await slowProxy(t, {});
  const client = rawClient(t, proxy.port());
  client.socket.pause();
  client.socket.write(hello);
  await eventually(() => assert.equal(proxy.log.filter(({ msg }) => msg === 'connection').length, 1));
  const line = await proxy.connectionLine();
  assert.deepEqual([line['code'], line['phase']], ['ERR_TLS_HANDSHAKE_TIMEOUT', 'handshake']);
  assert.equal(upstream.accepted, 0);
});

/** A hello of almost 64 KiB: dripped, it takes longer than any deadline here. */
const longHello = inRecords(
  helloMessage({ extensions: [serverName('a.example'), [21, Buffer.alloc(60_000)]] }),
);

describe('the deadline', () => {
  it('holds for a hello that drips: a byte is no sign of life', async (t) => {
    const { proxy, upstream } = await slowProxy(t, { timeouts: { client_hello: '100ms' } });
    const client = rawClient(t, proxy.port());
    void sendInPieces(client.socket, longHello, 1);
    assert.equal((await client.closed).error, 'ECONNRESET');
    const line = await proxy.connectionLine();
    assert.deepEqual(
      [line['code'], line['phase'], line['side']],
      ['ERR_CLIENT_HELLO_TIMEOUT', 'peek', 'client'],
    );
    assert.equal(upstream.accepted, 0);
  });

  // Far apart: a process that stood still gives each of its clients that time back.
  const timeouts = { client_hello: '500ms', handshake: '500ms' };
  const header = Buffer.from('PROXY UNKNOWN\r\n');
  const phases: Record<string, { listener: object; before: Buffer[]; progress: Buffer; code: string }> = {
    'the hello': {
      listener: {},
      before: [],
      progress: capturedHello('node-26').subarray(0, 100),
      code: 'ERR_CLIENT_HELLO_TIMEOUT',
    },
    'the handshake': {
      listener: {},
      before: [],
      progress: capturedHello('node-26'),
      code: 'ERR_TLS_HANDSHAKE_TIMEOUT',
    },
    'a PROXY header': {
      listener: { accept_proxy_protocol: { from: '127.0.0.1' } },
      before: [header.subarray(0, 5)],
      progress: header.subarray(5),
      code: 'ERR_CLIENT_HELLO_TIMEOUT',
    },
    'an SSLRequest': {
      listener: { starttls: 'postgres' },
      before: [sslRequest.subarray(0, 5)],
      progress: sslRequest.subarray(5),
      code: 'ERR_CLIENT_HELLO_TIMEOUT',
    },
  };
  for (const [name, { listener, before, progress, code }] of Object.entries(phases)) {
    it(`runs from accept, and getting on to ${name} does not wind it up`, async (t) => {
      const { proxy } = await slowProxy(t, { ...listener, timeouts });
      const first = rawClient(t, proxy.port());
      for (const bytes of before) first.socket.write(bytes);
      await first.connected;
      // What has connected is accepted in the next turn of the event loop; only from then on its clock runs.
      for (let turn = 0; turn < 2; turn += 1) await new Promise(setImmediate);
      await clockMoves(300);
      const second = rawClient(t, proxy.port());
      await second.connected;
      const clients = [first, second].map(({ socket }) => `127.0.0.1:${socket.localPort}`);
      // Were this a new start, the second, who does nothing at all, would be ended before.
      first.socket.write(progress);
      await Promise.all([first.closed, second.closed]);
      await eventually(() => {
        const lines = proxy.log.filter(({ msg }) => msg === 'connection');
        assert.deepEqual(
          lines.map(({ client }) => client),
          clients,
        );
        assert.equal(lines[0]?.['code'], code);
      });
    });
  }

  it('of the handshake follows that of the hello, and holds for a client that goes on dripping within TLS', async (t) => {
    const { proxy, upstream } = await slowProxy(t, {
      timeouts: { client_hello: '5s', handshake: '100ms' },
    });
    const client = rawClient(t, proxy.port());
    client.socket.write(capturedHello('node-26'));
    await client.until(1);
    // A record of 16 KiB, begun and never finished.
    void sendInPieces(
      client.socket,
      Buffer.concat([Buffer.from([23, 3, 3, 0x40, 0]), Buffer.alloc(16_000)]),
      1,
    );
    assert.equal((await client.closed).error, 'ECONNRESET');
    const line = await proxy.connectionLine();
    assert.deepEqual([line['code'], line['phase']], ['ERR_TLS_HANDSHAKE_TIMEOUT', 'handshake']);
    assert.equal(upstream.accepted, 0);
  });
});

test('five hundred who drip stop nobody, and all are ended', async (t) => {
  const { proxy, upstream } = await slowProxy(t, { timeouts: { client_hello: '3s' } });
  const drippers = Array.from({ length: 500 }, () => rawClient(t, proxy.port()));
  await Promise.all(drippers.map(({ connected }) => connected));
  let at = 0;
  const dripping = setInterval(() => {
    for (const { socket } of drippers) if (!socket.destroyed) socket.write(longHello.subarray(at, at + 1));
    at += 1;
  }, 200);
  t.after(() => clearInterval(dripping));
  const talks = await Promise.all(
    Array.from({ length: 20 }, () => tlsTalk(proxy.port(), { servername: 'a.example' })),
  );
  assert.deepEqual([...new Set(talks.map(({ text }) => text))], ['ping']);
  await Promise.all(drippers.map(({ closed }) => closed));
  await eventually(() => {
    const timedOut = proxy.log.filter(
      ({ msg, code }) => msg === 'connection' && code === 'ERR_CLIENT_HELLO_TIMEOUT',
    );
    assert.equal(timedOut.length, 500);
  });
  assert.equal(upstream.accepted, 20);
});

/** Waits until that much time has passed; only the order of things depends on it. */
async function clockMoves(ms: number): Promise<void> {
  const then = performance.now() + ms;
  await eventually(() => assert.ok(performance.now() > then));
}
