/**
 * On a listener with `starttls: ldap`, `xmpp`, `xmpp-server` or `mssql` a client asks for TLS in its protocol's own way, in whatever pieces, and begins
 * it; or begins with TLS. What comes in plain text is refused in the protocol's words, nothing may follow the request for TLS, and no server
 * is dialled before a certificate that is demanded. A server is asked in the same way, and its "no" ends the attempt.
 */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import {
  askedForTls,
  askedServer,
  clientFirstNames,
  clientFirstWords,
  echoed,
  shown,
  withinTls,
} from '../support/client-first.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { sceneOf } from '../support/starttls.ts';
import { tcpUpstream } from '../support/upstream.ts';

const { own, towards, proxyTo } = await sceneOf('xmpp.example');
const other = await ownCertificate('another.example');

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

for (const name of clientFirstNames) {
  const words = clientFirstWords[name];
  const request = words.asks.map(([says]) => says).join('');
  const heard = words.heard.map(([says]) => says).join('');
  describe(name, () => {
    for (const mode of ['plain', 'starttls', 'first'] as const) {
      test(`a server with TLS: ${mode}`, async (t) => {
        const server = await askedServer(t, name, mode, own.credential);
        const proxy = await proxyTo(t, name, server, { upstream: towards(name)[mode] });
        assert.equal(await echoed(t, await askedForTls(t, name, proxy.port())), 'ping');
        assert.equal(server.got(), mode === 'starttls' ? heard : '');
        assert.equal(server.within(), 'ping');
      });
    }

    test('passed through: both sides are asked for TLS, which begins between them', async (t) => {
      const server = await askedServer(t, name, 'starttls', own.credential);
      const proxy = await proxyTo(t, name, server, { tls: 'passthrough' });
      const options = { ca: own.authority.cert, rejectUnauthorized: true };
      assert.equal(await echoed(t, await askedForTls(t, name, proxy.port()), options), 'ping');
      assert.equal(server.got(), heard);
    });

    test('a client may begin with TLS on the same port', async (t) => {
      const server = await askedServer(t, name, 'starttls', own.credential);
      const proxy = await proxyTo(t, name, server, { upstream: towards(name).starttls });
      assert.equal(await echoed(t, connect(proxy.port(), '127.0.0.1')), 'ping');
      assert.equal(server.got(), heard);
    });

    for (const [what, says, answer, code] of words.early) {
      test(`${what}: refused in its words, and nothing dialled`, async (t) => {
        const server = await askedServer(t, name, 'plain', own.credential);
        const proxy = await proxyTo(t, name, server);
        const client = rawClient(t, proxy.port(), { allowHalfOpen: false });
        client.socket.write(latin1(says));
        assert.match(shown((await client.closed).received.toString('latin1')), answer);
        assert.equal((await proxy.connectionLine())['code'], code);
        assert.equal(server.accepted(), 0);
      });
    }

    const { quit } = words;
    test('a client may leave', { skip: quit === undefined }, async (t) => {
      assert.ok(quit);
      const server = await askedServer(t, name, 'plain', own.credential);
      const proxy = await proxyTo(t, name, server);
      const client = rawClient(t, proxy.port(), { allowHalfOpen: false });
      client.socket.write(latin1(quit[0]));
      assert.match(shown((await client.closed).received.toString('latin1')), quit[1]);
      assert.equal((await proxy.connectionLine())['code'], 'ERR_CLIENT_CLOSED');
    });

    for (const [what, behind] of [
      ['a request', request],
      ['a ClientHello', '\x16\x03\x01'],
      ['white space', '\n'],
    ] as const) {
      test(`${what} glued to the request for TLS is refused, which is not granted`, async (t) => {
        const server = await askedServer(t, name, 'plain', own.credential);
        const proxy = await proxyTo(t, name, server);
        const client = rawClient(t, proxy.port(), { allowHalfOpen: false });
        client.socket.write(latin1(request + behind));
        assert.doesNotMatch(shown((await client.closed).received.toString('latin1')), words.granted);
        assert.equal((await proxy.connectionLine())['code'], 'ERR_STARTTLS_STUFFED');
        assert.equal(server.accepted(), 0);
      });
    }

    for (const [what, bytes] of [
      ['another protocol', 'EHLO a.example\r\n'],
      ['a message without end', words.endless.slice(0, 2) + 'x'.repeat(40_000)],
      ['messages without end', words.endless.repeat(200)],
    ] as const) {
      test(`${what}: the client is turned away, and nothing dialled`, async (t) => {
        const server = await askedServer(t, name, 'plain', own.credential);
        const proxy = await proxyTo(t, name, server);
        const client = rawClient(t, proxy.port(), { allowHalfOpen: false });
        client.socket.write(latin1(bytes));
        await client.closed;
        assert.match(String((await proxy.connectionLine())['code']), /^ERR_STARTTLS_(INVALID|REQUIRED)$/);
        assert.equal(server.accepted(), 0);
      });
    }

    test('without the certificate that is demanded: an alert, and no dial', async (t) => {
      const server = await askedServer(t, name, 'plain', own.credential);
      const tls = { certificates: 'own', client_auth: { authority: 'clients' } };
      const proxy = await proxyTo(t, name, server, { tls });
      const { stream } = withinTls(t, await askedForTls(t, name, proxy.port()));
      const failure = new Promise<Error>((resolve) => stream.once('error', resolve));
      assert.match((await failure).message, /certificate required|handshake failure/);
      assert.equal((await proxy.connectionLine())['code'], 'ERR_CLIENT_CERT_REQUIRED');
      assert.equal(server.accepted(), 0);
    });

    const upTo = (last: string) => [...words.heard.slice(0, -1).map(([, answer]) => answer), last];
    const granted = words.heard.at(-1)?.[1] ?? '';
    const unkind: [what: string, says: readonly string[], code: string][] = [
      ...words.noes.map((no, index): (typeof unkind)[number] => [
        `says no (${index})`,
        upTo(no),
        'ERR_UPSTREAM_STARTTLS_REFUSED',
      ]),
      ['turns us away', [words.turnedAway], 'ERR_UPSTREAM_STARTTLS_REFUSED'],
      ['has bytes behind its answer', upTo(`${granted}x`), 'ERR_UPSTREAM_STARTTLS_INVALID'],
      ['has its answer twice', upTo(granted + granted), 'ERR_UPSTREAM_STARTTLS_INVALID'],
      ['speaks something else', ['SSH-2.0-x\r\n'], 'ERR_UPSTREAM_STARTTLS_INVALID'],
      ['answers without end', [words.endless + 'x'.repeat(40_000)], 'ERR_UPSTREAM_STARTTLS_INVALID'],
      ['answers by parts without end', [words.endless.repeat(200)], 'ERR_UPSTREAM_STARTTLS_INVALID'],
      ['says nothing', [''], 'ERR_UPSTREAM_CONNECT_TIMEOUT'],
    ];
    for (const [what, says, code] of unkind) {
      test(`a server that ${what}: the attempt ends, and nothing goes in plain text`, async (t) => {
        let got = '';
        const server = await tcpUpstream(t, (socket) => {
          const left = [...says];
          socket.on('data', (data: Buffer) => {
            got += data.toString('latin1');
            socket.write(left.shift() ?? '', 'latin1');
          });
        });
        const timeouts = { connect: code.endsWith('TIMEOUT') ? '300ms' : '10s' };
        const proxy = await proxyTo(t, name, server, { upstream: { ...towards(name).starttls, timeouts } });
        const { text } = withinTls(t, await askedForTls(t, name, proxy.port()));
        assert.equal((await proxy.connectionLine())['code'], code);
        await eventually(() => assert.match(shown(text()), words.unreachable));
        assert.ok(heard.startsWith(got), got);
      });
    }
  });
}

test('xmpp: without SNI the domain of the stream chooses the route and the certificate; SNI outranks it', async (t) => {
  const server = await askedServer(t, 'xmpp', 'plain', own.credential);
  const otherCertificate = { another: { cert: 'another.crt', key: 'another.key' } };
  const proxy = await startProxy(
    t,
    {
      certificates: { ...own.sections.certificates, ...otherCertificate },
      listeners: {
        it: {
          starttls: 'xmpp',
          routes: [
            {
              sni: ['xmpp.example', 'another.example'],
              tls: { certificates: ['another', 'own'] },
              upstream: 'it',
            },
          ],
        },
      },
      upstreams: { it: { endpoints: [`127.0.0.1:${server.port}`] } },
    },
    { ...own.files, 'another.crt': other.credential.chain, 'another.key': other.credential.key },
  );
  for (const [servername, seen, ca] of [
    ['', 'xmpp.example', own.authority.cert],
    ['another.example', 'another.example', other.authority.cert],
  ] as const) {
    const verifying = { ca, rejectUnauthorized: true, checkServerIdentity: () => undefined };
    const socket = await askedForTls(t, 'xmpp', proxy.port());
    const { stream } = withinTls(t, socket, { servername, ...verifying });
    await new Promise<void>((resolve, reject) => {
      stream.once('secureConnect', resolve);
      stream.once('error', reject);
    });
    stream.end();
    await proxy.connectionLine((line) => line['sni'] === seen && line['code'] === undefined);
  }
});

test('ldap: a plain client is served beside those with TLS, where a route takes it', async (t) => {
  const server = await askedServer(t, 'ldap', 'plain', own.credential);
  const routes = [
    { tls: { certificates: 'own' }, upstream: 'it' },
    { tls: 'off', upstream: 'it' },
  ];
  const proxy = await proxyTo(t, 'ldap', server, { routes });
  const bind = latin1('0\x0c\x02\x01\x05`\x07\x02\x01\x03\x04\0\x80\0');
  const client = rawClient(t, proxy.port());
  client.socket.write(bind);
  assert.deepEqual(await client.until(bind.length), bind);
  assert.equal(await echoed(t, await askedForTls(t, 'ldap', proxy.port())), 'ping');
});
