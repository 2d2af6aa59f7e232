/**
 * On a listener with `starttls: mysql` penstock greets in the server's place, and dials when it knows the client: its name, its certificate,
 * its login. The client then proves itself by the server's own nonce. Plain text goes nowhere by accident, a refused client reads why, and no
 * server is dialled for it.
 */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { can, common } from '../../src/protocols/mysql/capabilities.ts';
import { encodePacket } from '../../src/protocols/mysql/packets.ts';
import { createAuthority } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import {
  errorIn,
  greetingOf,
  headOf,
  logIn,
  loginOf,
  mysqlServer,
  ok,
  packetsOf,
  serverNonce,
} from '../support/mysql.ts';
import type { RunningProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { type Changes, sceneOf } from '../support/starttls.ts';
import { tcpUpstream } from '../support/upstream.ts';

const { own, clients, ...scene } = await sceneOf('db.example');
const byTls = scene.towards('mysql').starttls;
const proxyTo = (t: TestContext, server: { readonly port: number }, changes: Changes = {}) =>
  scene.proxyTo(t, 'mysql', server, changes);
const servername = 'db.example';
const query = Buffer.from('\x03select 1');

for (const [mode, upstream] of [
  ['in plain text', {}],
  ['over TLS', byTls],
] as const) {
  describe(`a server that is reached ${mode}`, () => {
    for (const glued of [false, true]) {
      test(`a client over TLS${glued ? ', with its ClientHello in the same segment' : ''}`, async (t) => {
        const server = await mysqlServer(t, own.credential);
        const proxy = await proxyTo(t, server, { upstream });
        const { greeting, told, numbers, stream, packets } = await logIn(t, proxy.port(), {
          servername,
          glued,
        });
        assert.ok(greeting.capabilities & can.ssl);
        assert.notDeepEqual(greeting.nonce, serverNonce);
        assert.deepEqual([told.payload, numbers], [ok, [0, 3, 5]]);
        stream.write(encodePacket(0, query));
        assert.equal((await packets.next()).sequence, 1, 'what follows is payload');
        const [seen] = server.seen;
        assert.equal(seen?.isSecure, mode === 'over TLS');
        const told41 = seen?.login.payload;
        assert.equal((told41?.readInt32LE(0) ?? 0) & can.ssl, mode === 'over TLS' ? can.ssl : 0);
        if (seen?.request) assert.deepEqual(seen.request, told41?.subarray(0, 32), 'asked for in its words');
        assert.ok(told41?.includes('_name'));
      });
    }

    test('a client without TLS, on a route for such', async (t) => {
      const server = await mysqlServer(t, own.credential);
      const routes = [{ tls: 'off', upstream: 'it' }];
      const mixed = [{ tls: { certificates: 'own' }, upstream: 'it' }, ...routes];
      for (const [listed, offersTls] of [
        [routes, false],
        [mixed, true],
      ] as const) {
        const proxy = await proxyTo(t, server, { upstream, routes: listed });
        const { greeting, told, numbers } = await logIn(t, proxy.port());
        assert.equal((greeting.capabilities & can.ssl) !== 0, offersTls);
        assert.deepEqual([told.payload, numbers], [ok, [0, 2, 4]]);
      }
      assert.ok(server.seen.every(({ isSecure }) => isSecure === (mode === 'over TLS')));
    });

    test('a wrong password: the server’s own refusal', async (t) => {
      const server = await mysqlServer(t, own.credential);
      const proxy = await proxyTo(t, server, { upstream });
      const { told } = await logIn(t, proxy.port(), { servername, password: 'wrong' });
      assert.deepEqual([errorIn(told)?.code, told.sequence], [1045, 5]);
    });

    test('several rounds, in which either side may speak twice', async (t) => {
      const server = await mysqlServer(t, own.credential, {
        async afterLogin({ say, hear }) {
          say(Buffer.from('\xfeother\0xxxxxxxxxxxxxxxxxxxx\0', 'latin1'));
          assert.equal((await hear()).payload.length, 20);
          say(Buffer.from([1, 4]));
          assert.equal((await hear()).payload.toString(), 'more');
          say(ok);
        },
      });
      const proxy = await proxyTo(t, server, { upstream });
      const { told, numbers } = await logIn(t, proxy.port(), { servername });
      assert.deepEqual([told.payload, numbers], [ok, [0, 3, 5, 7, 9]]);
    });
  });
}

test('clients read the version that the servers behind have, once it is known, and only what they can do', async (t) => {
  const greeting = greetingOf({ version: '11.8.9-MariaDB', capabilities: common & ~can.sessionTrack });
  const server = await mysqlServer(t, own.credential, { greeting });
  const proxy = await proxyTo(t, server);
  const capabilities = (can.protocol41 | can.secureConnection | can.pluginAuth) as number;
  const first = await logIn(t, proxy.port(), { servername, capabilities });
  assert.match(first.greeting.version, /penstock/);
  const second = await logIn(t, proxy.port(), { servername, capabilities });
  assert.equal(second.greeting.version, '11.8.9-MariaDB');
  assert.equal(second.greeting.capabilities & can.sessionTrack, 0);
});

/** What a raw client reads behind the greeting, and how the log has it. */
async function refused(t: TestContext, proxy: RunningProxy, bytes: Buffer) {
  const client = rawClient(t, proxy.port(), { allowHalfOpen: false });
  await eventually(() => assert.ok(client.received().length > 4));
  client.socket.write(bytes);
  const { received } = await client.closed;
  const behind = received.subarray(4 + received.readUIntLE(0, 3));
  const told = behind.length < 5 ? undefined : { sequence: behind.readUInt8(3), payload: behind.subarray(4) };
  const { code, phase } = await proxy.connectionLine();
  return { code, phase, sequence: told?.sequence, error: told && errorIn(told) };
}

describe('what a client says in plain text', () => {
  const request = encodePacket(1, headOf(common));
  const login = encodePacket(1, loginOf(common, 'secret', serverNonce));
  const cases: [name: string, bytes: Buffer, code: string, error: number | undefined][] = [
    ['a login', login, 'ERR_STARTTLS_REQUIRED', 3159],
    ['a login behind the request for TLS', Buffer.concat([request, login]), 'ERR_STARTTLS_STUFFED', 1043],
    ['HTTP', Buffer.from('GET / HTTP/1.0\r\n\r\n'), 'ERR_STARTTLS_INVALID', 1043],
    ['an endless packet', Buffer.from([0xff, 0xff, 0xff, 1]), 'ERR_STARTTLS_INVALID', 1043],
  ];
  for (const [name, bytes, code, error] of cases) {
    test(`${name}: refused with a word, and no server is dialled`, async (t) => {
      const server = await mysqlServer(t, own.credential);
      const proxy = await proxyTo(t, server);
      const told = await refused(t, proxy, bytes);
      assert.deepEqual([told.code, told.phase, told.error?.code], [code, 'starttls', error]);
      assert.equal(told.sequence, 2);
      assert.equal(server.accepted(), 0);
    });
  }

  test('nothing, before the handshake or within it: no server is dialled', async (t) => {
    const server = await mysqlServer(t, own.credential);
    const proxy = await proxyTo(t, server, { timeouts: { client_hello: '300ms', handshake: '300ms' } });
    await rawClient(t, proxy.port()).closed;
    assert.equal((await proxy.connectionLine())['code'], 'ERR_STARTTLS_TIMEOUT');
    assert.equal(server.accepted(), 0);
  });
});

describe('a client certificate', () => {
  const tls = { certificates: 'own', client_auth: { authority: 'clients' } };
  test('that is missing: an alert ends the handshake, and no server is dialled', async (t) => {
    const server = await mysqlServer(t, own.credential);
    const proxy = await proxyTo(t, server, { tls });
    await assert.rejects(logIn(t, proxy.port(), { servername }));
    assert.equal((await proxy.connectionLine())['code'], 'ERR_CLIENT_CERT_REQUIRED');
    assert.equal(server.accepted(), 0);
  });
  test('that is of another authority: an error packet within TLS, and no server is dialled', async (t) => {
    const server = await mysqlServer(t, own.credential);
    const proxy = await proxyTo(t, server, { tls });
    const credential = await (await createAuthority()).issue({ dns: ['app'], usage: 'client' });
    const { told } = await logIn(t, proxy.port(), { servername, credential });
    assert.deepEqual([told.sequence, errorIn(told)?.code], [3, 1045]);
    assert.match(errorIn(told)?.text ?? '', /certificate is refused/);
    assert.equal((await proxy.connectionLine())['code'], 'ERR_CLIENT_CERT_UNTRUSTED');
    assert.equal(server.accepted(), 0);
  });
  test('that is presented', async (t) => {
    const server = await mysqlServer(t, own.credential);
    const proxy = await proxyTo(t, server, { tls });
    const credential = await clients.authority.issue({ dns: ['app'], usage: 'client' });
    assert.deepEqual((await logIn(t, proxy.port(), { servername, credential })).told.payload, ok);
  });
});

test('passed through: the request for TLS is the client’s own, less what it was not offered', async (t) => {
  const server = await mysqlServer(t, own.credential, { afterLogin: async ({ say }) => say(ok) });
  const proxy = await proxyTo(t, server, { tls: 'passthrough' });
  const odd = 1 << 27;
  const capabilities = can.protocol41 | can.secureConnection | can.pluginAuth | odd;
  const { told } = await logIn(t, proxy.port(), { servername, capabilities });
  assert.deepEqual(told.payload, ok);
  const [seen] = server.seen;
  assert.equal(seen?.request?.readInt32LE(0), (capabilities & ~odd) | can.ssl);
});

describe('a server that does not keep to it', () => {
  const plain = greetingOf({ capabilities: common & ~can.ssl });
  const tooMany = encodePacket(0, Buffer.from('\xff\x10\x04Too many connections', 'latin1'));
  const cases: [name: string, said: Buffer, code: string][] = [
    ['has no TLS', plain, 'ERR_UPSTREAM_STARTTLS_REFUSED'],
    ['turns us away', tooMany, 'ERR_UPSTREAM_STARTTLS_REFUSED'],
    ['speaks something else', Buffer.from('220 mx.example ESMTP\r\n'), 'ERR_UPSTREAM_STARTTLS_INVALID'],
    ['has bytes ahead of the handshake', Buffer.concat([greetingOf(), ok]), 'ERR_UPSTREAM_STARTTLS_INVALID'],
    ['sends a packet without end', Buffer.from([0xff, 0xff, 0xff, 0]), 'ERR_UPSTREAM_STARTTLS_INVALID'],
    ['says nothing', Buffer.alloc(0), 'ERR_UPSTREAM_CONNECT_TIMEOUT'],
  ];
  for (const [name, said, code] of cases) {
    test(`${name}: the attempt ends, and no login was sent to it`, async (t) => {
      let got: Buffer = Buffer.alloc(0);
      const server = await tcpUpstream(t, (socket) => {
        socket.write(said);
        socket.on('data', (data: Buffer) => {
          got = Buffer.concat([got, data]);
        });
      });
      const proxy = await proxyTo(t, server, { upstream: { ...byTls, timeouts: { connect: '300ms' } } });
      const { told } = await logIn(t, proxy.port(), { servername });
      assert.deepEqual([told.sequence, errorIn(told)?.code], [3, code.includes('INVALID') ? 1251 : 1105]);
      assert.equal((await proxy.connectionLine())['code'], code);
      assert.ok(!got.includes('app\0'));
    });
  }

  const later: [name: string, said: Buffer, code: string][] = [
    ['wants a second factor', Buffer.from('\x02dialog\0'), 'ERR_UPSTREAM_STARTTLS_INVALID'],
    ['leaves', Buffer.alloc(0), 'ERR_UPSTREAM_CONNECT'],
  ];
  for (const [name, said, code] of later) {
    test(`${name}, during the login`, async (t) => {
      const server = await mysqlServer(t, own.credential, {
        async afterLogin({ say }) {
          if (said.length === 0) throw new Error('it leaves');
          say(said);
          await new Promise(() => {});
        },
      });
      const proxy = await proxyTo(t, server, { upstream: byTls });
      const { told } = await logIn(t, proxy.port(), { servername });
      assert.deepEqual([told.sequence, errorIn(told)?.code], [5, code.includes('INVALID') ? 1251 : 1105]);
      assert.equal((await proxy.connectionLine())['code'], code);
    });
  }
});

test('a client that counts wrongly is refused, and what it sent goes nowhere', async (t) => {
  const server = await mysqlServer(t, own.credential);
  const proxy = await proxyTo(t, server, { routes: [{ tls: 'off', upstream: 'it' }] });
  const { socket } = rawClient(t, proxy.port());
  const packets = packetsOf(socket);
  const { sequence } = await packets.next();
  assert.equal(sequence, 0);
  socket.write(encodePacket(1, loginOf(common & ~can.ssl, 'secret', serverNonce)));
  assert.equal((await packets.next()).payload[0], 0xfe);
  socket.write(Buffer.concat([encodePacket(0, query)]));
  assert.equal(errorIn(await packets.next())?.code, 1043);
  assert.equal((await proxy.connectionLine())['code'], 'ERR_STARTTLS_INVALID');
  assert.deepEqual(server.commands, []);
});
