/**
 * A client that is asked to say hello again (HelloRetryRequest) may say something else: its second ClientHello names another
 * host or protocol than the one that was routed on. A client made by hand does so with everything else in order, which a
 * man in the middle cannot. Where TLS is terminated it gets nowhere; where it is passed through nobody but the upstream sees
 * it, and the upstream has to look at the name itself (docs/security.md).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAuthority } from '../support/certificates.ts';
import { startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { serverCredential, startTerminating } from '../support/terminating.ts';
import { tlsUpstream } from '../support/tls-upstream.ts';
import { type Said, tls13Client } from '../support/tls13-client.ts';

const clients = await createAuthority();
/** Clients offer a key for X25519 first. */
const groups = ['P-384'];
const scene = {
  listeners: {
    one: [
      { name: 'open', sni: 'open.example', tls: { groups, alpn: ['a', 'b'] } },
      { name: 'strict', sni: 'strict.example', tls: { groups, client_auth: { authority: 'clients' } } },
      { name: 'rest', tls: { groups, alpn: ['a'] } },
    ],
  },
  authorities: { clients: { ca: clients.cert } },
};

test('terminated: what says the same twice is served', async (t) => {
  const proxy = await startTerminating(t, scene);
  for (const said of [
    { servername: 'open.example' },
    { servername: 'open.example', alpn: ['b'] },
    { alpn: ['a'] },
  ]) {
    const client = rawClient(t, proxy.port(), { allowHalfOpen: false });
    const tls = await tls13Client(client, said);
    assert.equal(tls.askedAgain, true);
    client.socket.write(Buffer.concat([tls.finish(), tls.seal(23, Buffer.from('ping'))]));
    assert.equal(await answered(tls), 'ping');
  }
});

const changes: [what: string, first: Said, second: Said][] = [
  ['another name', { servername: 'open.example' }, { servername: 'strict.example' }],
  ['a name that no route has', { servername: 'open.example' }, { servername: 'unknown.test' }],
  ['a name, and had none', {}, { servername: 'strict.example' }],
  [
    'another protocol',
    { servername: 'open.example', alpn: ['a'] },
    { servername: 'open.example', alpn: ['b'] },
  ],
  [
    'fewer protocols',
    { servername: 'open.example', alpn: ['a', 'b'] },
    { servername: 'open.example', alpn: ['b'] },
  ],
  ['no protocol any more', { servername: 'open.example', alpn: ['a'] }, { servername: 'open.example' }],
  ['a protocol, and had none', { servername: 'open.example' }, { servername: 'open.example', alpn: ['a'] }],
];
for (const [what, first, second] of changes) {
  test(`terminated: one that names ${what} is refused, and no byte of it goes upstream`, async (t) => {
    const proxy = await startTerminating(t, scene);
    const client = rawClient(t, proxy.port(), { allowHalfOpen: false });
    const tls = await tls13Client(client, first, { second });
    assert.equal(tls.askedAgain, true);
    client.socket.write(Buffer.concat([tls.finish(), tls.seal(23, Buffer.from('ping'))]));
    await client.closed;
    const line = await proxy.connectionLine();
    assert.deepEqual(
      [line['code'], line['phase'], line['side']],
      ['ERR_TLS_SNI_CHANGED', 'handshake', 'client'],
    );
    assert.equal(proxy.upstream.accepted, 0);
  });
}

test('terminated: one that leaves the name out is held to that of the first', async (t) => {
  const proxy = await startTerminating(t, scene);
  const client = rawClient(t, proxy.port(), { allowHalfOpen: false });
  const tls = await tls13Client(client, { servername: 'open.example' }, { second: {} });
  assert.equal(tls.askedAgain, true);
  client.socket.write(Buffer.concat([tls.finish(), tls.seal(23, Buffer.from('ping'))]));
  assert.equal(await answered(tls), 'ping');
  client.socket.end();
  const line = await proxy.connectionLine();
  assert.deepEqual([line['route'], line['sni']], ['open', 'open.example']);
});

test('passed through: the route is that of the first name, and the upstream sees the second', async (t) => {
  const upstream = await tlsUpstream(t, serverCredential, { ecdhCurve: 'P-384' });
  const proxy = await startProxy(t, {
    listeners: { one: { routes: [{ sni: 'open.example', tls: 'passthrough', upstream: 'tenant' }] } },
    upstreams: { tenant: { endpoints: [`127.0.0.1:${upstream.port}`] } },
  });
  const client = rawClient(t, proxy.port(), { allowHalfOpen: false });
  const tls = await tls13Client(
    client,
    { servername: 'open.example' },
    { second: { servername: 'strict.example' } },
  );
  client.socket.write(Buffer.concat([tls.finish(), tls.seal(23, Buffer.from('ping'))]));
  assert.equal(await answered(tls), 'ping');
  client.socket.end();
  assert.equal((await proxy.connectionLine())['sni'], 'open.example');
  assert.deepEqual(upstream.seen.names, ['strict.example']);
});

async function answered(tls: Awaited<ReturnType<typeof tls13Client>>): Promise<string> {
  for (;;) {
    const { type, content } = await tls.next();
    // Tickets come ahead.
    if (type === 23) return content.toString();
    if (type !== 22) throw new Error(`a record of type ${type}: ${content.toString('hex')}`);
  }
}
