/**
 * When an endpoint fails, another is tried, and what the client had sent by then (its whole ClientHello, payload sent early)
 * arrives there once and whole. When all fail, the log says of which one and why, and the client is told in its protocol.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { capturedHello } from '../support/client-hellos.ts';
import { echoUpstream, tlsTalk } from '../support/clients.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { tlsUpstream } from '../support/tls-upstream.ts';
import { blackHole, closedPort, tcpUpstream } from '../support/upstream.ts';

const certificates = ownCertificate('a.example');

/** One listener for each mode, all to this upstream. */
async function proxyTo(t: TestContext, upstream: object): Promise<RunningProxy> {
  const own = await certificates;
  return startProxy(
    t,
    {
      ...own.sections,
      listeners: {
        plain: { routes: [{ tls: 'off', upstream: 'app' }] },
        terminated: { routes: [{ tls: { certificates: 'own' }, upstream: 'app' }] },
        // Whoever is passed through brings TLS along.
        through: { routes: [{ tls: 'passthrough', upstream: 'raw' }] },
      },
      upstreams: { app: upstream, raw: { ...upstream, tls: undefined } },
    },
    own.files,
  );
}

const at = (port: number) => `127.0.0.1:${port}`;

/** A server that takes connections and resets them when the first byte of TLS comes. */
async function resetter(t: TestContext): Promise<{ port: number; tried: () => number }> {
  let tried = 0;
  const { port } = await tcpUpstream(t, (socket) => {
    tried += 1;
    socket.once('data', () => socket.resetAndDestroy());
  });
  return { port, tried: () => tried };
}

describe('endpoints', () => {
  it('get their turns', async (t) => {
    const upstreams = await Promise.all([echoUpstream(t), echoUpstream(t), echoUpstream(t)]);
    const proxy = await proxyTo(t, { endpoints: upstreams.map(({ port }) => at(port)) });
    for (let i = 0; i < 6; i += 1) {
      const client = rawClient(t, proxy.port('plain'));
      client.socket.end('x');
      await client.closed;
    }
    assert.deepEqual(
      upstreams.map(({ accepted }) => accepted),
      [2, 2, 2],
    );
  });

  it('of a later priority are used when those before are down, and only then', async (t) => {
    const [first, second] = [await echoUpstream(t), await echoUpstream(t)];
    const later = { address: at(second.port), priority: 1 };
    const up = await proxyTo(t, { endpoints: [later, at(first.port)] });
    for (let i = 0; i < 3; i += 1) await tlsTalk(up.port('terminated'));
    assert.deepEqual([first.accepted, second.accepted], [3, 0]);
    const down = await proxyTo(t, { endpoints: [later, at(await closedPort())] });
    assert.equal((await tlsTalk(down.port('terminated'))).text, 'ping');
    assert.equal((await down.connectionLine())['endpoint'], at(second.port));
  });

  it('may be unix sockets', async (t) => {
    const upstream = await echoUpstream(t);
    // A proxy of its own is the server: it listens on a unix socket.
    const inner = await startProxy(t, {
      listeners: { inner: { bind: 'unix:app.sock', routes: [{ tls: 'off', upstream: 'app' }] } },
      upstreams: { app: { endpoints: [at(upstream.port)] } },
    });
    const path = join(inner.directory, 'app.sock');
    const proxy = await proxyTo(t, { endpoints: [`unix:${path}`] });
    assert.equal((await tlsTalk(proxy.port('terminated'))).text, 'ping');
    assert.equal((await proxy.connectionLine())['endpoint'], `unix:${path}`);
  });
});

describe('what a client had sent when an endpoint failed', () => {
  it('arrives once at the next: the hello of a client that is passed through', async (t) => {
    const upstream = await echoUpstream(t);
    const proxy = await proxyTo(t, {
      endpoints: [at(await closedPort()), { address: at(upstream.port), priority: 1 }],
    });
    const hello = capturedHello('node-26');
    const client = rawClient(t, proxy.port('through'));
    client.socket.end(Buffer.concat([hello, Buffer.from('and early data')]));
    assert.deepEqual((await client.closed).received, Buffer.concat([hello, Buffer.from('and early data')]));
    assert.equal(upstream.accepted, 1);
  });

  it('arrives once at the next: payload sent along with the handshake', async (t) => {
    const own = await certificates;
    const broken = await resetter(t);
    const upstream = await tlsUpstream(t, own.credential);
    const proxy = await proxyTo(t, {
      endpoints: [at(broken.port), { address: at(upstream.port), priority: 1 }],
      tls: { authority: 'test', server_name: 'a.example' },
    });
    assert.equal((await tlsTalk(proxy.port('terminated'), {}, 'payload')).text, 'payload');
    assert.equal(upstream.seen.bytes, 'payload');
    assert.equal(broken.tried(), 1);
  });

  it('arrives once at the next: the bytes of a plain client', async (t) => {
    const own = await certificates;
    const broken = await resetter(t);
    const upstream = await tlsUpstream(t, own.credential);
    const proxy = await proxyTo(t, {
      endpoints: [at(broken.port), { address: at(upstream.port), priority: 1 }],
      tls: { authority: 'test', server_name: 'a.example' },
    });
    const client = rawClient(t, proxy.port('plain'));
    client.socket.end('payload');
    assert.equal((await client.closed).received.toString(), 'payload');
    assert.equal(upstream.seen.bytes, 'payload');
  });

  it('goes to no more endpoints than `retries` says', async (t) => {
    const broken = await Promise.all([resetter(t), resetter(t), resetter(t), resetter(t)]);
    const proxy = await proxyTo(t, {
      endpoints: broken.map(({ port }) => at(port)),
      retries: 2,
      tls: { authority: 'test', server_name: 'a.example' },
    });
    await tlsTalk(proxy.port('terminated'));
    assert.equal(
      broken.reduce((sum, { tried }) => sum + tried(), 0),
      3,
    );
    const line = await proxy.connectionLine();
    assert.equal(line['code'], 'ERR_UPSTREAM_TLS');
    assert.match(String(line['error']), /3 endpoints were tried/);
  });
});

describe('when no endpoint is up', () => {
  it('the log names the last of them, and why', async (t) => {
    const [one, two] = [await closedPort(), await closedPort()];
    const proxy = await proxyTo(t, { endpoints: [at(one), { address: at(two), priority: 1 }] });
    await tlsTalk(proxy.port('terminated'));
    const line = await proxy.connectionLine();
    assert.deepEqual(
      { code: line['code'], phase: line['phase'], side: line['side'], endpoint: line['endpoint'] },
      { code: 'ERR_UPSTREAM_CONNECT', phase: 'connect', side: 'upstream', endpoint: at(two) },
    );
    assert.equal(line['error'], `${at(two)} refused the connection (ECONNREFUSED); 2 endpoints were tried`);
    assert.equal(line['level'], 'warn');
  });

  it('a client that was to be passed through gets a TLS alert', async (t) => {
    const proxy = await proxyTo(t, { endpoints: [at(await closedPort())] });
    const talk = await tlsTalk(proxy.port('through'));
    assert.equal(talk.error, 'ALERT 80');
    assert.equal(talk.secured, false);
  });

  it('a plain client is reset', async (t) => {
    const proxy = await proxyTo(t, { endpoints: [at(await closedPort())] });
    const client = rawClient(t, proxy.port('plain'));
    client.socket.write('x');
    const { received, error } = await client.closed;
    assert.deepEqual([received.length, error], [0, 'ECONNRESET']);
  });

  it('a name that does not resolve is told as such', async (t) => {
    const proxy = await proxyTo(t, { endpoints: ['nowhere.invalid:5432'] });
    await tlsTalk(proxy.port('terminated'));
    const line = await proxy.connectionLine();
    assert.equal(line['code'], 'ERR_UPSTREAM_RESOLVE');
    assert.match(String(line['error']), /nowhere\.invalid/);
  });
});

describe('an endpoint that does not answer', () => {
  it('is given up after timeouts.connect, and the log says of what', async (t) => {
    const port = await blackHole(t, '127.0.0.1');
    const proxy = await proxyTo(t, { endpoints: [at(port)], timeouts: { connect: '60ms' } });
    await tlsTalk(proxy.port('terminated'));
    const line = await proxy.connectionLine();
    assert.equal(line['code'], 'ERR_UPSTREAM_CONNECT_TIMEOUT');
    assert.equal(line['error'], `${at(port)} did not answer within 60 ms`);
    assert.match(String(line['hint']), /upstreams\.app\.timeouts\.connect/);
  });

  it('holds up its client only: the next one is tried, and others are served meanwhile', async (t) => {
    const port = await blackHole(t, '127.0.0.1');
    const upstream = await echoUpstream(t);
    const proxy = await proxyTo(t, {
      endpoints: [at(port), { address: at(upstream.port), priority: 1 }],
      timeouts: { connect: '60ms' },
    });
    const talks = await Promise.all(Array.from({ length: 10 }, () => tlsTalk(proxy.port('terminated'))));
    assert.deepEqual([...new Set(talks.map(({ text }) => text))], ['ping']);
  });

  it('is left alone when the client resets', async (t) => {
    const port = await blackHole(t, '127.0.0.1');
    const proxy = await proxyTo(t, { endpoints: [at(port)], timeouts: { connect: 'off' } });
    const raw = rawClient(t, proxy.port('terminated'));
    const client = tlsConnect({ socket: raw.socket, rejectUnauthorized: false });
    // Tickets come when the handshake is over for the server, too.
    await once(client, 'session');
    raw.socket.resetAndDestroy();
    const line = await proxy.connectionLine();
    assert.deepEqual([line['side'], line['phase']], ['client', 'connect']);
  });
});
