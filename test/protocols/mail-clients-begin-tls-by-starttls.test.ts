/**
 * On a listener with `starttls: smtp`, `lmtp`, `imap`, `pop3` or `sieve` a client is greeted, told to ask for TLS, and begins it. It reads no
 * second greeting within (but ManageSieve's list), whichever way the server has of beginning TLS. What comes in plain text is refused in
 * the protocol's words; no server is dialled for it, nor for a client that lacks its certificate. A server's "no" ends the attempt.
 */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import {
  askedForTls,
  type MailName,
  mailNames,
  mailServer,
  mailWords,
  pinged,
  within,
} from '../support/mail.ts';
import { rawClient } from '../support/raw-client.ts';
import { sceneOf } from '../support/starttls.ts';
import { tcpUpstream } from '../support/upstream.ts';

const { own, towards, proxyTo } = await sceneOf('mail.example');

/** Lines by which a greeting or an answer goes on. */
const endless: Record<MailName, string> = {
  smtp: '220-x\r\n',
  lmtp: '220-x\r\n',
  imap: '* x\r\n',
  pop3: '+x\r\n',
  sieve: '"X"\r\n',
};

for (const name of mailNames) {
  const words = mailWords[name];
  const asked = words.asking.map(([command]) => command).join('');
  describe(name, () => {
    for (const mode of ['plain', 'starttls', 'first'] as const) {
      test(`a server with TLS: ${mode}; the client reads no second greeting`, async (t) => {
        const server = await mailServer(t, name, mode, own.credential);
        const proxy = await proxyTo(t, name, server, { upstream: towards(name)[mode] });
        const socket = await askedForTls(t, name, proxy.port());
        assert.equal(await pinged(t, name, socket), words.again + words.ping[1]);
        assert.equal(server.got(), mode === 'starttls' ? asked : '');
        assert.equal(server.within(), words.ping[0]);
      });
    }

    test('passed through: both sides are asked for TLS, which begins between them', async (t) => {
      const server = await mailServer(t, name, 'starttls', own.credential);
      const proxy = await proxyTo(t, name, server, { tls: 'passthrough' });
      const socket = await askedForTls(t, name, proxy.port());
      const options = { ca: own.authority.cert, rejectUnauthorized: true };
      assert.equal(await pinged(t, name, socket, options), words.again + words.ping[1]);
      assert.equal(server.got(), asked);
    });

    test('a client that begins with TLS gets a greeting that was never in plain text', async (t) => {
      const server = await mailServer(t, name, 'starttls', own.credential);
      const proxy = await proxyTo(t, name, server, { upstream: towards(name).starttls, starttls: undefined });
      const { text } = within(t, connect(proxy.port(), '127.0.0.1'));
      await eventually(() => assert.match(text(), name === 'sieve' ? /OK "ready"\r\n$/ : /penstock.*\r\n$/));
      assert.ok(!text().includes('LOGINDISABLED') && !text().includes('mx.example'));
    });

    test('a plain client of a listener without TLS reads the greeting of the server', async (t) => {
      const server = await mailServer(t, name, 'plain', own.credential);
      const proxy = await proxyTo(t, name, server, {
        tls: 'off',
        routes: [{ tls: 'off', upstream: 'it' }],
      });
      const { received } = rawClient(t, proxy.port());
      await eventually(() => assert.equal(received().toString(), words.greeting));
    });

    test('commands before TLS are refused in its words, and after ten the client is', async (t) => {
      const server = await mailServer(t, name, 'plain', own.credential);
      const proxy = await proxyTo(t, name, server);
      const client = rawClient(t, proxy.port(), { allowHalfOpen: false });
      client.socket.write(words.early[0].repeat(12));
      const received = (await client.closed).received.toString();
      assert.equal(received.split(words.early[1]).length - 1, 10, received);
      assert.match(received, /TLS is required here"?\r\n$/);
      assert.equal((await proxy.connectionLine())['code'], 'ERR_STARTTLS_REQUIRED');
      assert.equal(server.accepted(), 0);
    });

    test('a client may leave, and its tag is its own', async (t) => {
      const server = await mailServer(t, name, 'plain', own.credential);
      const proxy = await proxyTo(t, name, server);
      const client = rawClient(t, proxy.port(), { allowHalfOpen: false });
      client.socket.write(words.quit[0]);
      const received = (await client.closed).received.toString();
      assert.ok(received.endsWith(words.quit[1]), received);
      assert.equal((await proxy.connectionLine())['code'], 'ERR_CLIENT_CLOSED');
    });

    for (const [what, behind] of [
      ['a command', words.ping[0]],
      ['a ClientHello', '\x16\x03\x01'],
    ] as const) {
      test(`${what} glued to the request for TLS is refused, and answered by nothing of TLS`, async (t) => {
        const server = await mailServer(t, name, 'plain', own.credential);
        const proxy = await proxyTo(t, name, server);
        const client = rawClient(t, proxy.port(), { allowHalfOpen: false });
        client.socket.write(asked + behind);
        const received = (await client.closed).received.toString();
        assert.ok(!/Ready to start|Begin TLS/.test(received), received);
        assert.equal((await proxy.connectionLine())['code'], 'ERR_STARTTLS_STUFFED');
        assert.equal(server.accepted(), 0);
      });
    }

    const unfit: [what: string, bytes: string][] = [
      ['a ClientHello at once', '\x16\x03\x01\x02\0\x01'],
      ['a line without end', 'x'.repeat(5000)],
      ['lines without end', words.quit[0].replace(/QUIT|LOGOUT/, 'NOOP').repeat(101)],
    ];
    for (const [what, bytes] of unfit) {
      test(`${what}: the client is turned away, and nothing dialled`, async (t) => {
        const server = await mailServer(t, name, 'plain', own.credential);
        const proxy = await proxyTo(t, name, server);
        const client = rawClient(t, proxy.port(), { allowHalfOpen: false });
        client.socket.write(bytes);
        await client.closed;
        const { code } = await proxy.connectionLine();
        assert.match(String(code), /^ERR_STARTTLS_(INVALID|REQUIRED)$/);
        assert.equal(server.accepted(), 0);
      });
    }

    test('without the certificate that is demanded: an alert, and no dial', async (t) => {
      const server = await mailServer(t, name, 'plain', own.credential);
      const tls = { certificates: 'own', client_auth: { authority: 'clients' } };
      const proxy = await proxyTo(t, name, server, { tls });
      const { stream } = within(t, await askedForTls(t, name, proxy.port()));
      const failure = new Promise<Error>((resolve) => stream.once('error', resolve));
      assert.match((await failure).message, /certificate required/);
      assert.equal((await proxy.connectionLine())['code'], 'ERR_CLIENT_CERT_REQUIRED');
      assert.equal(server.accepted(), 0);
    });

    const { greeting } = words;
    const last = words.asking.at(-1)?.[0] ?? '';
    const upTo = (said: (command: string) => string) => [
      greeting,
      ...words.asking.map(([command, reply]) => (command === last ? said(reply) : reply)),
    ];
    const unkind: [what: string, says: readonly string[], code: string][] = [
      ['says no', upTo(() => words.no), 'ERR_UPSTREAM_STARTTLS_REFUSED'],
      ['turns us away', [words.turnedAway], 'ERR_UPSTREAM_STARTTLS_REFUSED'],
      [
        'has bytes behind its answer',
        upTo((reply) => `${reply}${words.ping[1]}`),
        'ERR_UPSTREAM_STARTTLS_INVALID',
      ],
      ['speaks something else', ['SSH-2.0-x\r\n'], 'ERR_UPSTREAM_STARTTLS_INVALID'],
      ['sends a line without end', ['2'.repeat(5000)], 'ERR_UPSTREAM_STARTTLS_INVALID'],
      ['greets without end', [endless[name].repeat(200)], 'ERR_UPSTREAM_STARTTLS_INVALID'],
      ['says nothing', [''], 'ERR_UPSTREAM_CONNECT_TIMEOUT'],
    ];
    for (const [what, says, code] of unkind) {
      test(`a server that ${what}: the attempt ends, and nothing goes in plain text`, async (t) => {
        let got = '';
        const server = await tcpUpstream(t, (socket) => {
          const left = [...says];
          socket.write(left.shift() ?? '');
          socket.on('data', (data) => {
            got += data;
            socket.write(left.shift() ?? '');
          });
        });
        const upstream = {
          ...towards(name).starttls,
          timeouts: { connect: code.endsWith('TIMEOUT') ? '300ms' : '10s' },
        };
        const proxy = await proxyTo(t, name, server, { upstream });
        const { text } = within(t, await askedForTls(t, name, proxy.port()));
        assert.equal((await proxy.connectionLine())['code'], code);
        await eventually(() => assert.match(text(), words.unreachable));
        assert.ok(asked.startsWith(got), got);
      });
    }
  });
}

test('an SMTP server that does not offer STARTTLS is not asked for it', async (t) => {
  let got = '';
  const server = await tcpUpstream(t, (socket) => {
    socket.write('220 x\r\n');
    socket.on('data', (data) => {
      got += data;
      socket.write('250-x\r\n250 SIZE STARTTLS\r\n');
    });
  });
  const proxy = await proxyTo(t, 'smtp', server, { upstream: towards('smtp').starttls });
  within(t, await askedForTls(t, 'smtp', proxy.port()));
  assert.equal((await proxy.connectionLine())['code'], 'ERR_UPSTREAM_STARTTLS_REFUSED');
  assert.equal(got, 'EHLO [127.0.0.1]\r\n');
});

test('an IMAP server that takes everybody for logged in (PREAUTH) is not believed in plain text', async (t) => {
  const server = await tcpUpstream(t, (socket) => void socket.write('* PREAUTH hello\r\n'));
  const proxy = await proxyTo(t, 'imap', server, { upstream: towards('imap').starttls });
  within(t, await askedForTls(t, 'imap', proxy.port()));
  assert.equal((await proxy.connectionLine())['code'], 'ERR_UPSTREAM_STARTTLS_REFUSED');
});
