/**
 * With `dial: early` TCP to the upstream is opened while the client's handshake runs, and nothing is sent before that is
 * done. A client that fails ends the dial; an upstream that leaves meanwhile is replaced; and where clients are
 * authenticated there is no early dial at all.
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { describe, it, type TestContext } from 'node:test';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { ConfigError } from '../../src/config/load.ts';
import { capturedHello } from '../support/client-hellos.ts';
import { tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { blackHole, closedPort, tcpUpstream } from '../support/upstream.ts';

const certificates = ownCertificate('a.example');

async function earlyProxy(t: TestContext, ports: readonly number[], upstream: object = {}, tls: object = {}) {
  const own = await certificates;
  return startProxy(
    t,
    {
      ...own.sections,
      listeners: {
        in: {
          timeouts: { handshake: '5s' },
          routes: [{ tls: { certificates: 'own', ...tls }, upstream: 'app' }],
        },
      },
      upstreams: {
        app: {
          endpoints: ports.map((port, priority) => ({ address: `127.0.0.1:${port}`, priority })),
          dial: 'early',
          ...upstream,
        },
      },
    },
    own.files,
  );
}

/** An echo that keeps its connections, and what came. */
async function watched(t: TestContext) {
  const sockets: Socket[] = [];
  const seen = { received: '', closed: 0 };
  const { port } = await tcpUpstream(t, (socket) => {
    sockets.push(socket);
    socket.on('data', (chunk) => {
      seen.received += chunk;
      socket.write(chunk);
    });
    socket.on('end', () => socket.end());
    socket.on('close', () => {
      seen.closed += 1;
    });
  });
  return { port, sockets, seen };
}

/** Within its handshake: it said hello and was answered. `finish` goes on with a real one, on a connection of its own. */
async function stall(t: TestContext, port: number) {
  const client = rawClient(t, port);
  client.socket.write(capturedHello('node-26'));
  await client.until(1);
  return client;
}

/** A TLS client that says hello, and the rest of its handshake only after `release`. */
function heldClient(t: TestContext, port: number): { stream: TLSSocket; release: () => void } {
  const { socket } = rawClient(t, port);
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let hello = true;
  const held = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      const turn = hello ? Promise.resolve() : released;
      hello = false;
      void turn.then(() => socket.write(chunk, done));
    },
    final(done) {
      socket.end(done);
    },
  });
  socket.on('data', (chunk) => held.push(chunk));
  socket.on('end', () => held.push(null));
  return { stream: tlsConnect({ socket: held, rejectUnauthorized: false }).on('error', () => {}), release };
}

describe('an early dial', () => {
  it('reaches the upstream while the handshake is stalled, without a byte, and ends with the client', async (t) => {
    const upstream = await watched(t);
    const proxy = await earlyProxy(t, [upstream.port]);
    const client = await stall(t, proxy.port());
    await eventually(() => assert.equal(upstream.sockets.length, 1));
    assert.equal(upstream.seen.received, '');
    client.socket.resetAndDestroy();
    await eventually(() => assert.equal(upstream.seen.closed, 1));
    const line = await proxy.connectionLine();
    assert.deepEqual([line['code'], line['phase']], ['ERR_CLIENT_CLOSED', 'handshake']);
    assert.equal(upstream.seen.received, '');
  });

  it('ends with a client that misses its deadline', async (t) => {
    const own = await certificates;
    const upstream = await watched(t);
    const proxy = await startProxy(
      t,
      {
        ...own.sections,
        listeners: {
          in: {
            timeouts: { handshake: '100ms' },
            routes: [{ tls: { certificates: 'own' }, upstream: 'app' }],
          },
        },
        upstreams: { app: { endpoints: [`127.0.0.1:${upstream.port}`], dial: 'early' } },
      },
      own.files,
    );
    await stall(t, proxy.port());
    await eventually(() => assert.equal(upstream.seen.closed, 1));
    assert.equal((await proxy.connectionLine())['code'], 'ERR_TLS_HANDSHAKE_TIMEOUT');
  });

  it('serves its client when that is ready, on the connection made before', async (t) => {
    const upstream = await watched(t);
    const proxy = await earlyProxy(t, [upstream.port]);
    const { stream, release } = heldClient(t, proxy.port());
    await eventually(() => assert.equal(upstream.sockets.length, 1));
    release();
    stream.end('payload');
    let text = '';
    for await (const chunk of stream) text += chunk;
    assert.equal(text, 'payload');
    assert.equal(upstream.sockets.length, 1);
    assert.equal((await proxy.connectionLine())['code'], undefined);
  });

  it('counts no time that the client takes as the upstream’s', async (t) => {
    const upstream = await watched(t);
    const proxy = await earlyProxy(t, [upstream.port], { timeouts: { connect: '100ms' } });
    const { stream, release } = heldClient(t, proxy.port());
    await eventually(() => assert.equal(upstream.sockets.length, 1));
    const later = performance.now() + 250;
    await eventually(() => assert.ok(performance.now() > later));
    release();
    stream.end('payload');
    let text = '';
    for await (const chunk of stream) text += chunk;
    assert.equal(text, 'payload');
    assert.equal(upstream.sockets.length, 1);
  });

  for (const how of ['resetAndDestroy', 'end'] as const) {
    it(`is made anew when the upstream leaves meanwhile (${how})`, async (t) => {
      const [first, second] = [await watched(t), await watched(t)];
      const proxy = await earlyProxy(t, [first.port, second.port]);
      const { stream, release } = heldClient(t, proxy.port());
      await eventually(() => assert.equal(first.sockets.length, 1));
      await new Promise<void>((resolve) => {
        first.sockets[0]?.once(how === 'end' ? 'finish' : 'close', () => resolve())[how]();
      });
      // The proxy has seen it when it has seen a later connection through.
      await stall(t, proxy.port());
      release();
      stream.end('payload');
      let text = '';
      for await (const chunk of stream) text += chunk;
      assert.equal(text, 'payload');
      assert.equal(first.seen.received, '');
      assert.equal(second.seen.received, 'payload');
    });
  }

  it('that fails tries the next endpoint, and a client that comes late is not what it waits for', async (t) => {
    const upstream = await watched(t);
    const proxy = await earlyProxy(t, [await closedPort(), upstream.port]);
    const client = await stall(t, proxy.port());
    await eventually(() => assert.equal(upstream.sockets.length, 1));
    client.socket.destroy();
  });

  it('that goes nowhere is told when the client is ready', async (t) => {
    const port = await blackHole(t, '127.0.0.1');
    const proxy = await earlyProxy(t, [port], { timeouts: { connect: '60ms' } });
    const { stream, release } = heldClient(t, proxy.port());
    release();
    stream.end('payload');
    let text = '';
    stream.on('data', (chunk) => {
      text += chunk;
    });
    await new Promise((resolve) => stream.once('close', resolve));
    assert.equal(text, '');
    const line = await proxy.connectionLine();
    assert.deepEqual([line['code'], line['phase']], ['ERR_UPSTREAM_CONNECT_TIMEOUT', 'connect']);
  });

  it('is not made where silent clients would take the places that the upstream has', async (t) => {
    const upstream = await watched(t);
    const proxy = await earlyProxy(t, [upstream.port], { limits: { connections: 1 } });
    const silent = await Promise.all([stall(t, proxy.port()), stall(t, proxy.port())]);
    assert.equal((await tlsTalk(proxy.port(), { servername: 'a.example' })).text, 'ping');
    assert.ok(silent.every(({ socket }) => !socket.closed));
    assert.equal(upstream.sockets.length, 1);
  });

  it('is not to be had with client authentication', async (t) => {
    const auth = { client_auth: { mode: 'require', authority: 'test' } };
    await assert.rejects(earlyProxy(t, [1], {}, auth), (error: ConfigError) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.findings.map(({ message }) => message).join('\n'), /early/);
      return true;
    });
  });
});
