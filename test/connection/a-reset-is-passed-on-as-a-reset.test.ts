/**
 * A side that was reset shows to the other as a reset, never as a clean end that would make half an answer look like a whole
 * one. What was read before is delivered. The log says who it was.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { systemCode } from '../../src/errors.ts';
import { Splice } from '../../src/splice/splice.ts';
import { temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { modes, through } from '../support/modes.ts';
import { startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { socketPair } from '../support/socket-pair.ts';

type Fate = { ended: boolean; error: string | undefined; text: string };

/** What a side sees of its end: of a clean one no more than that. */
async function fateOf(socket: Socket): Promise<Fate> {
  const fate: Fate = { ended: false, error: undefined, text: '' };
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', (error) => {
    fate.error = systemCode(error);
  });
  await new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
    socket.once('end', () => {
      fate.ended = true;
      resolve();
    });
  });
  return { ...fate, text: Buffer.concat(chunks).toString('latin1') };
}

for (const mode of modes) {
  describe(`with ${mode},`, () => {
    it('a reset by the upstream reaches the client', async (t) => {
      const { connect, proxy } = await through(t, mode, (stream, raw) => {
        stream.write('half an answer');
        stream.once('data', () => raw.resetAndDestroy());
      });
      const { stream: client } = await connect();
      const fate = fateOf(client);
      await once(client, 'data');
      client.write('go on');
      const { ended, error, text } = await fate;
      assert.deepEqual([ended, error], [false, 'ECONNRESET']);
      assert.equal(text, 'half an answer');
      const line = await proxy.connectionLine();
      assert.deepEqual(
        [line['code'], line['side'], line['phase']],
        ['ERR_UPSTREAM_RESET', 'upstream', 'splice'],
      );
    });

    it('a reset by the client reaches the upstream', async (t) => {
      let fate: Promise<Fate> | undefined;
      const { connect, proxy } = await through(t, mode, (stream) => {
        stream.write('x');
        fate = fateOf(stream);
      });
      const { stream: client, raw } = await connect();
      client.write('half a question');
      await once(client, 'data');
      await eventually(() => assert.ok(fate));
      raw.resetAndDestroy();
      const seen = await fate;
      assert.deepEqual([seen?.ended, seen?.error], [false, 'ECONNRESET']);
      const line = await proxy.connectionLine();
      assert.deepEqual([line['code'], line['side']], ['ERR_CLIENT_RESET', 'client']);
    });

    it('a reset after the other side has ended is a reset still', async (t) => {
      const { connect } = await through(t, mode, (stream, raw) => {
        stream.write('half an answer');
        stream.on('end', () => raw.resetAndDestroy()).resume();
      });
      const { stream: client } = await connect();
      const fate = fateOf(client);
      await once(client, 'data');
      client.end('that is all');
      const { ended, error } = await fate;
      assert.deepEqual([ended, error], [false, 'ECONNRESET']);
    });
  });
}

describe('a splice whose upstream resets', () => {
  /** A splice that has read 24 MB from its upstream, of which the client has not taken all. */
  async function laggingClient(t: TestContext) {
    // With so high a mark no write is ever too much, and none is followed by a 'drain'.
    const client = await socketPair(t, 64 * 1024 * 1024);
    const upstream = await socketPair(t, 64 * 1024);
    const bytes = { in: 0, out: 0 };
    const off = Number.POSITIVE_INFINITY;
    const splice = new Splice(
      { stream: client.near, raw: client.near },
      { stream: upstream.near, raw: upstream.near },
      bytes,
      { idle: off, halfClose: off, keepAlive: off },
    );
    const megabyte = Buffer.alloc(1024 * 1024);
    for (let i = 0; i < 24; i += 1) upstream.far.write(megabyte);
    await eventually(() => assert.equal(bytes.out, 24 * megabyte.length));
    assert.ok(client.near.writableLength > 0, 'the client has not got all');
    return { client, upstream, splice, sent: bytes.out };
  }

  it('ends, also while what is left to deliver is too little for a `drain`', async (t) => {
    const { client, upstream, splice } = await laggingClient(t);
    upstream.far.resetAndDestroy();
    const fate = fateOf(client.far);
    assert.equal((await splice.done).code, 'ERR_UPSTREAM_RESET');
    assert.deepEqual([(await fate).ended, (await fate).error], [false, 'ECONNRESET']);
  });

  it('ends, also when the upstream had ended before, and the client goes on', async (t) => {
    const { client, upstream, splice, sent } = await laggingClient(t);
    upstream.far.end();
    await eventually(() => assert.ok(client.near.writableEnded));
    upstream.far.resetAndDestroy();
    // Nobody reads from the upstream any more; its reset shows when something is written to it.
    // And it is more than a farewell, which a server may leave unread.
    const writing = setInterval(() => client.far.write(Buffer.alloc(4096)), 5);
    t.after(() => clearInterval(writing));
    const fate = fateOf(client.far);
    assert.equal((await splice.done).code, 'ERR_UPSTREAM_RESET');
    // The end that was passed on before may reach the client first, but then behind the whole answer.
    const { ended, error, text } = await fate;
    if (ended) assert.equal(text.length, sent);
    else assert.match(error ?? '', /ECONNRESET|EPIPE/);
  });
});

describe('a unix socket', () => {
  it('that an upstream closes with bytes unread is a reset for the client', async (t) => {
    const path = `${temporaryDirectory(t)}/app.sock`;
    let upstream: Socket | undefined;
    // It reads nothing.
    const server = createServer({ pauseOnConnect: true }, (socket) => {
      upstream = socket.on('error', () => {});
      socket.write('half an answer');
    }).listen(path);
    await once(server, 'listening');
    t.after(() => server.close());
    const proxy = await startProxy(t, {
      listeners: { in: { routes: [{ tls: 'off', upstream: 'app' }] } },
      upstreams: { app: { endpoints: [`unix:${path}`] } },
    });
    const client = rawClient(t, proxy.port());
    await client.until(1);
    await new Promise((resolve) => client.socket.write('a question', resolve));
    // It has reached the upstream's queue by then: all three are in this process.
    for (let turns = 0; turns < 100; turns += 1) await turn();
    upstream?.destroy();
    const { ended, error, received } = await client.closed;
    assert.deepEqual([ended, error, received.toString()], [false, 'ECONNRESET', 'half an answer']);
    assert.equal((await proxy.connectionLine())['code'], 'ERR_UPSTREAM_RESET');
  });
});
