/**
 * On a listener with `starttls: nats` a client that waits for INFO is greeted and begins TLS behind it; one that begins with TLS reads the
 * server's INFO within it. Each reads one INFO, says CONNECT once, and is answered, whichever way the server has of beginning TLS. What
 * comes in plain text is refused in NATS's words, and no server is dialled for it, nor for a client that lacks its certificate.
 */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { capturedHello } from '../support/client-hellos.ts';
import { eventually } from '../support/eventually.ts';
import { found, greetedTalk, infoOf, natsServer, tlsFirstTalk } from '../support/nats.ts';
import type { RunningProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { type Changes, sceneOf } from '../support/starttls.ts';
import { tcpUpstream } from '../support/upstream.ts';
import { clientTls } from '../support/within-tls.ts';

const { own, ...scene } = await sceneOf('nats.example');
const towards = scene.towards('nats');
const proxyTo = (t: TestContext, server: { readonly port: number }, changes: Changes = {}) =>
  scene.proxyTo(t, 'nats', server, changes);

for (const mode of ['plain', 'starttls', 'first'] as const) {
  describe(`a server with TLS: ${mode}`, () => {
    test('a client that waits is greeted, and reads no second INFO', async (t) => {
      const server = await natsServer(t, mode, own.credential);
      const proxy = await proxyTo(t, server, { upstream: towards[mode] });
      const { greeting, within } = await greetedTalk(t, proxy.port());
      assert.equal(greeting?.['tls_required'], true);
      assert.equal(greeting['nonce'], undefined, 'the server’s is not known yet');
      assert.equal(within, 'PONG\r\n');
      assert.equal(server.got(), 'CONNECT {"verbose":false}\r\nPING\r\n');
    });

    test('a client that begins with TLS reads the server’s INFO, which demands TLS', async (t) => {
      const server = await natsServer(t, mode, own.credential);
      const proxy = await proxyTo(t, server, { upstream: towards[mode] });
      const { within } = await tlsFirstTalk(t, proxy.port());
      assert.deepEqual(infoOf(within), { server_id: 'S', nonce: 'n', tls_required: true });
      assert.match(within, /\r\nPONG\r\n$/);
      assert.equal(within.match(/INFO/g)?.length, 1);
    });

    test('a plain client reads an INFO without TLS', async (t) => {
      const server = await natsServer(t, mode, own.credential);
      const routes = [{ tls: 'off', upstream: 'it' }];
      const proxy = await proxyTo(t, server, { upstream: towards[mode], routes });
      const { socket, received } = rawClient(t, proxy.port());
      const info = await found(() => infoOf(received().toString()));
      assert.deepEqual(info, { server_id: 'S', nonce: 'n' });
      socket.write('PING\r\n');
      await eventually(() => assert.match(received().toString(), /PONG\r\n$/));
    });
  });
}

test('a listener without starttls gives its clients the INFO that was read on the way to TLS', async (t) => {
  const server = await natsServer(t, 'starttls', own.credential);
  const proxy = await proxyTo(t, server, { upstream: towards.starttls, starttls: undefined });
  const { within } = await tlsFirstTalk(t, proxy.port());
  assert.deepEqual(infoOf(within), { server_id: 'S', nonce: 'n', tls_required: true });
});

test('where plain clients are taken too, the greeting offers TLS and does not demand it', async (t) => {
  const server = await natsServer(t, 'plain', own.credential);
  const routes = [
    { tls: { certificates: 'own' }, upstream: 'it' },
    { name: 'plain', tls: 'off', upstream: 'it' },
  ];
  const proxy = await proxyTo(t, server, { routes });
  const { socket, received } = rawClient(t, proxy.port());
  const { tls_available, tls_required } = await found(() => infoOf(received().toString()));
  assert.deepEqual([tls_available, tls_required], [true, undefined]);
  socket.write('CONNECT {}\r\nPING\r\n');
  await eventually(() => assert.match(received().toString(), / \r\nPONG\r\n$/));
  assert.equal(received().toString().match(/INFO/g)?.length, 1);
  socket.resetAndDestroy();
  assert.equal((await proxy.connectionLine())['route'], 'plain');
  assert.equal((await greetedTalk(t, proxy.port())).within, 'PONG\r\n');
});

describe('passed through', () => {
  test('a client that was greeted, to a server that speaks first', async (t) => {
    const server = await natsServer(t, 'starttls', own.credential);
    const proxy = await proxyTo(t, server, { tls: 'passthrough' });
    const { greeting, within } = await greetedTalk(t, proxy.port(), { ca: own.authority.cert });
    assert.equal(greeting?.['tls_required'], true);
    assert.equal(within, 'PONG\r\n');
  });
  test('a client that begins with TLS, to a server that waits for it', async (t) => {
    const server = await natsServer(t, 'first', own.credential);
    const proxy = await proxyTo(t, server, { tls: 'passthrough' });
    const { within } = await tlsFirstTalk(t, proxy.port());
    assert.equal(infoOf(within)['tls_required'], true);
  });
});

/** What a raw client is told, and the code of its line. */
async function refused(t: TestContext, proxy: RunningProxy, bytes: Buffer | string, greeted = true) {
  const client = rawClient(t, proxy.port(), { allowHalfOpen: false });
  if (greeted) await found(() => infoOf(client.received().toString()));
  client.socket.write(bytes);
  const { received } = await client.closed;
  const [line] = [await proxy.connectionLine()];
  return { told: received.toString().replace(/^INFO .*\r\n/, ''), code: line['code'], phase: line['phase'] };
}

describe('what a client says in plain text', () => {
  const tlsRequired = "-ERR 'Secure Connection - TLS Required'\r\n";
  const invalid = "-ERR 'Unknown Protocol Operation'\r\n";
  const cases: [name: string, bytes: Buffer | string, told: string, code: string][] = [
    ['CONNECT', 'CONNECT {}\r\n', tlsRequired, 'ERR_STARTTLS_REQUIRED'],
    ['PING', 'PING\r\n', tlsRequired, 'ERR_STARTTLS_REQUIRED'],
    [
      'CONNECT, and a ClientHello behind it',
      Buffer.concat([Buffer.from('CONNECT {}\r\n'), capturedHello('node-26')]),
      tlsRequired,
      'ERR_STARTTLS_REQUIRED',
    ],
    ['HTTP', 'GET / HTTP/1.0\r\n\r\n', invalid, 'ERR_STARTTLS_INVALID'],
    ['an SSLRequest', Buffer.from('0000000804d2162f', 'hex'), invalid, 'ERR_STARTTLS_INVALID'],
  ];
  for (const [name, bytes, told, code] of cases) {
    for (const greeted of [true, false]) {
      test(`${name}, ${greeted ? 'behind' : 'before'} the greeting`, async (t) => {
        const server = await natsServer(t, 'plain', own.credential);
        const proxy = await proxyTo(t, server);
        assert.deepEqual(await refused(t, proxy, bytes, greeted), { told, code, phase: 'starttls' });
        assert.equal(server.accepted(), 0);
      });
    }
  }

  test('nothing: it costs a greeting and a timer, and no dial', async (t) => {
    const server = await natsServer(t, 'plain', own.credential);
    const proxy = await proxyTo(t, server, { timeouts: { client_hello: '300ms' } });
    const { received } = await rawClient(t, proxy.port()).closed;
    assert.equal(infoOf(received.toString())['tls_required'], true);
    assert.equal((await proxy.connectionLine())['code'], 'ERR_STARTTLS_TIMEOUT');
    assert.equal(server.accepted(), 0);
  });
});

describe('a client without the certificate that is demanded', () => {
  for (const greeted of [true, false]) {
    test(`is refused by an alert before anything is dialled, ${greeted ? 'greeted' : 'TLS first'}`, async (t) => {
      const server = await natsServer(t, 'plain', own.credential);
      const tls = { certificates: 'own', client_auth: { authority: 'clients' } };
      const proxy = await proxyTo(t, server, { tls });
      const { socket, received } = rawClient(t, proxy.port());
      if (greeted) await found(() => infoOf(received().toString()));
      socket.removeAllListeners('data');
      const stream = tlsConnect({ socket, servername: 'nats.example', rejectUnauthorized: false });
      const failure = new Promise<Error>((resolve) => stream.once('error', resolve));
      assert.match((await failure).message, /certificate required/);
      assert.equal((await proxy.connectionLine())['code'], 'ERR_CLIENT_CERT_REQUIRED');
      assert.equal(server.accepted(), 0);
    });
  }
});

describe('a server that does not keep to it', () => {
  const cases: [name: string, said: string, code: string][] = [
    ['has no TLS', 'INFO {"server_id":"S"} \r\n', 'ERR_UPSTREAM_STARTTLS_REFUSED'],
    ['says no', "-ERR 'maximum connections exceeded'\r\n", 'ERR_UPSTREAM_STARTTLS_INVALID'],
    ['speaks something else', '220 mx.example ESMTP\r\n', 'ERR_UPSTREAM_STARTTLS_INVALID'],
    [
      'has bytes ahead of the handshake',
      'INFO {"tls_required":true} \r\nMSG a 1 4\r\nevil\r\n',
      'ERR_UPSTREAM_STARTTLS_INVALID',
    ],
    ['sends a line without end', `INFO {"a":"${'x'.repeat(40_000)}`, 'ERR_UPSTREAM_STARTTLS_INVALID'],
    ['says nothing', '', 'ERR_UPSTREAM_CONNECT_TIMEOUT'],
  ];
  for (const [name, said, code] of cases) {
    test(`${name}: the attempt ends, and nothing was sent to it`, async (t) => {
      let got = '';
      const server = await tcpUpstream(t, (socket) => {
        socket.write(said);
        socket.on('data', (data) => {
          got += data;
        });
      });
      const upstream = { ...towards.starttls, timeouts: { connect: '300ms' } };
      const proxy = await proxyTo(t, server, { upstream });
      const { socket, received } = rawClient(t, proxy.port());
      await found(() => infoOf(received().toString()));
      socket.removeAllListeners('data');
      const { text } = clientTls(t, socket, { servername: 'nats.example' });
      assert.equal((await proxy.connectionLine())['code'], code);
      await eventually(() => assert.match(text(), /^-ERR 'the server behind this proxy cannot be reached/));
      assert.ok(!text().includes('evil'));
      assert.equal(got, '');
    });
  }
});
