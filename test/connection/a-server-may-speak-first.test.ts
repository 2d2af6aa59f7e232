/**
 * On a listener with `tls: off` routes alone nothing is waited for: a silent client (of MySQL, SMTP, FTP) is connected at once
 * and gets its greeting. With TLS routes beside them the first byte decides which kind of client it is.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it, type TestContext } from 'node:test';
import { echoUpstream, tlsOpen, tlsTalk } from '../support/clients.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

const certificates = ownCertificate('a.example');
const greeting = '220 ready\r\n';

async function greeter(t: TestContext, listener: object) {
  const own = await certificates;
  const upstream = await echoUpstream(t, { greeting });
  const proxy = await startProxy(
    t,
    {
      ...own.sections,
      listeners: { in: listener },
      upstreams: { app: { endpoints: [`127.0.0.1:${upstream.port}`] } },
    },
    own.files,
  );
  return { proxy, upstream };
}

const off = { name: 'plain', tls: 'off', upstream: 'app' };
const terminated = { name: 'terminated', tls: { certificates: 'own' }, upstream: 'app' };

describe('a listener with `tls: off` routes alone', () => {
  it('connects a silent client at once', async (t) => {
    const { proxy } = await greeter(t, { routes: [off] });
    const client = rawClient(t, proxy.port());
    assert.equal((await client.until(greeting.length)).toString(), greeting);
    client.socket.end('QUIT');
    assert.equal((await client.closed).received.toString(), `${greeting}QUIT`);
    const line = await proxy.connectionLine();
    assert.deepEqual([line['bytes_in'], line['bytes_out']], [4, greeting.length + 4]);
  });

  it('does so beside a route that denies by address', async (t) => {
    const denied = { from: '10.0.0.0/8', deny: true };
    const { proxy } = await greeter(t, { timeouts: { client_hello: '1s' }, routes: [denied, off] });
    const client = rawClient(t, proxy.port());
    assert.equal((await client.until(greeting.length)).toString(), greeting);
    client.socket.end();
    await client.closed;
  });

  it('has no deadline for a silent client: there is no hello to wait for', async (t) => {
    // Greets only when both deadlines have long passed.
    const { port } = await tcpUpstream(t, (socket) => {
      setTimeout(() => socket.end(greeting), 200);
    });
    const proxy = await startProxy(t, {
      listeners: { in: { timeouts: { client_hello: '20ms', handshake: '20ms' }, routes: [off] } },
      upstreams: { app: { endpoints: [`127.0.0.1:${port}`] } },
    });
    const client = rawClient(t, proxy.port());
    assert.equal((await client.until(greeting.length)).toString(), greeting);
  });

  it('passes on whatever comes, TLS too: it looks at nothing', async (t) => {
    const { proxy, upstream } = await greeter(t, { routes: [off] });
    const client = rawClient(t, proxy.port());
    client.socket.end(Buffer.from([22, 3, 1, 0, 5]));
    await client.closed;
    assert.equal(upstream.received.length, 5);
  });
});

describe('a listener with both kinds of routes', () => {
  const routes = [terminated, off];

  it('tells by the first byte', async (t) => {
    const { proxy } = await greeter(t, { routes });
    const client = rawClient(t, proxy.port());
    client.socket.end('EHLO');
    assert.equal((await client.closed).received.toString(), `${greeting}EHLO`);
    assert.equal((await proxy.connectionLine(({ tls }) => tls === undefined))['route'], 'plain');
    assert.equal((await tlsTalk(proxy.port(), {}, 'EHLO')).text, `${greeting}EHLO`);
    assert.equal((await proxy.connectionLine(({ tls }) => tls !== undefined))['route'], 'terminated');
  });

  it('ends a silent client at the deadline, and nothing upstream is touched', async (t) => {
    const { proxy, upstream } = await greeter(t, { routes, timeouts: { client_hello: '50ms' } });
    const client = rawClient(t, proxy.port());
    assert.deepEqual(await client.closed, {
      received: Buffer.alloc(0),
      ended: false,
      error: 'ECONNRESET',
    });
    assert.equal((await proxy.connectionLine())['code'], 'ERR_CLIENT_HELLO_TIMEOUT');
    assert.equal(upstream.accepted, 0);
  });

  it('sends no TLS alert to a plain client that no route takes', async (t) => {
    const { proxy } = await greeter(t, { routes: [terminated, { ...off, from: '10.0.0.0/8' }] });
    const client = rawClient(t, proxy.port());
    client.socket.end('EHLO');
    assert.deepEqual(await client.closed, { received: Buffer.alloc(0), ended: true, error: undefined });
    assert.equal((await proxy.connectionLine())['code'], 'ERR_NO_ROUTE');
  });
});

it('a terminated client that says nothing after its handshake gets the greeting', async (t) => {
  const { proxy } = await greeter(t, { routes: [terminated] });
  const client = await tlsOpen(proxy.port());
  const [chunk] = await once(client.socket, 'data');
  assert.equal(String(chunk), greeting);
  assert.equal((await client.end()).error, undefined);
});
