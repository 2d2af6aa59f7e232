/**
 * A client that gets on by a byte now and then, in whatever step, is ended at the deadline, with the code and the phase of
 * that step and without a dial; one deadline covers all steps, so that getting on to the next one gains nothing. One that
 * reads nothing of what it is told at its end is gone a second later.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { createAuthority } from '../support/certificates.ts';
import { capturedHello, helloMessage, inRecords, serverName } from '../support/client-hellos.ts';
import { echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { cancelRequest, gssRequest, sslRequest, startup } from '../support/postgres.ts';
import { startProxy } from '../support/proxy.ts';
import { type RawClient, rawClient } from '../support/raw-client.ts';
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
