/**
 * A client that writes PROXY headers itself is nobody else for it: on a listener that takes none, behind the one that the
 * balancer sent, and within TLS they are payload or no TLS, and the upstream is told the true client ahead of them.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { echoUpstream, tlsTalk } from '../support/clients.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { exchange, startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';

const own = await ownCertificate('a.example');
const forged = 'PROXY TCP4 10.9.9.9 10.0.0.1 1 2\r\n';
// struct { signature[12]; ver_cmd 0x21; fam 0x11; length 12; src 10.9.9.9; dst 10.0.0.1; ports }
const forgedV2 = Buffer.from('0d0a0d0a000d0a515549540a2111000c0a0909090a00000100010002', 'hex');

async function scene(t: TestContext) {
  const upstream = await echoUpstream(t);
  const accept_proxy_protocol = { from: '127.0.0.1' };
  const tls = { routes: [{ tls: { certificates: 'own' }, upstream: 'echo' }] };
  const plain = { routes: [{ tls: 'off', upstream: 'echo' }] };
  const proxy = await startProxy(
    t,
    {
      certificates: own.sections.certificates,
      listeners: {
        tls,
        plain,
        'tls-behind': { accept_proxy_protocol, ...tls },
        'plain-behind': { accept_proxy_protocol, ...plain },
      },
      upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`], send_proxy_protocol: 'v1' } },
    },
    own.files,
  );
  return { proxy, upstream };
}

for (const header of [Buffer.from(forged), forgedV2]) {
  const version = header === forgedV2 ? 'v2' : 'v1';
  for (const [listener, ahead] of [
    ['tls', ''],
    ['tls-behind', 'PROXY TCP4 192.0.2.7 192.0.2.8 7 8\r\n'],
  ] as const) {
    test(`${version}, ahead of TLS on ${listener}: it is no TLS, and nobody is dialled`, async (t) => {
      const { proxy, upstream } = await scene(t);
      await exchange(proxy.port(listener), Buffer.concat([Buffer.from(ahead), header]));
      const line = await proxy.connectionLine();
      assert.equal(line['code'], 'ERR_NOT_TLS');
      assert.match(String(line['client']), ahead === '' ? /^127\.0\.0\.1:/ : /^192\.0\.2\.7:7$/);
      assert.equal(upstream.accepted, 0);
    });
  }

  test(`${version}, from a plain client: it is payload behind the true one`, async (t) => {
    const { proxy, upstream } = await scene(t);
    const client = rawClient(t, proxy.port('plain'));
    await client.connected;
    const port = client.socket.localPort;
    client.socket.end(header);
    await client.closed;
    assert.equal((await proxy.connectionLine())['client'], `127.0.0.1:${port}`);
    assert.ok(
      upstream.received.startsWith(`PROXY TCP4 127.0.0.1 127.0.0.1 ${port} ${proxy.port('plain')}\r\n`),
    );
    assert.ok(upstream.received.endsWith(String(header)));
  });

  test(`${version}, a second one behind that of the balancer: the first counts`, async (t) => {
    const { proxy, upstream } = await scene(t);
    const first = 'PROXY TCP4 192.0.2.7 192.0.2.8 7 8\r\n';
    await exchange(proxy.port('plain-behind'), Buffer.concat([Buffer.from(first), header]));
    assert.equal((await proxy.connectionLine())['client'], '192.0.2.7:7');
    assert.ok(upstream.received.startsWith('PROXY TCP4 192.0.2.7 '));
    assert.ok(upstream.received.endsWith(String(header)));
  });
}

test('within TLS: it is payload behind the true one', async (t) => {
  const { proxy, upstream } = await scene(t);
  const { text } = await tlsTalk(proxy.port('tls'), { servername: 'a.example' }, forged);
  const line = await proxy.connectionLine();
  assert.match(String(line['client']), /^127\.0\.0\.1:/);
  assert.match(upstream.received, /^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+\r\nPROXY TCP4 10\.9\.9\.9 /);
  assert.ok(text.endsWith(forged));
});

test('an untrusted peer gets nowhere with one, and one that is trusted gets nowhere without', async (t) => {
  const { proxy, upstream } = await scene(t);
  const stranger = await startProxy(t, {
    listeners: {
      in: {
        accept_proxy_protocol: { from: '10.0.0.0/8' },
        routes: [{ tls: 'off', upstream: 'echo' }],
      },
    },
    upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
  });
  for (const header of [Buffer.from(forged), forgedV2]) await exchange(stranger.port(), header);
  assert.equal((await stranger.connectionLine())['code'], 'ERR_PROXY_HEADER_UNTRUSTED');
  const talk = await tlsTalk(proxy.port('tls-behind'), { servername: 'a.example' });
  assert.equal(talk.text, '');
  assert.equal((await proxy.connectionLine())['code'], 'ERR_PROXY_HEADER_INVALID');
  assert.equal(upstream.accepted, 0);
});
