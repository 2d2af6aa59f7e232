/**
 * A drain refuses new connections at once and lets open ones end by themselves. Those that have not by the end of the grace are
 * reset, never ended cleanly, and the log has ERR_SHUTDOWN and their number.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { describe, it } from 'node:test';
import { systemCode } from '../../src/errors.ts';
import { capturedHello } from '../support/client-hellos.ts';
import { echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { modes, through } from '../support/modes.ts';
import { startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';

for (const mode of modes) {
  describe(`with ${mode},`, () => {
    it('an open connection goes on, and the drain ends with it', async (t) => {
      const { proxy, connect } = await through(t, mode, (socket) => {
        socket.pipe(socket);
      });
      const { stream: client } = await connect();
      client.write('before');
      await once(client, 'data');
      const draining = proxy.drain(Number.POSITIVE_INFINITY);
      // Nobody new, from now on.
      const late = rawClient(t, proxy.port());
      assert.equal((await late.closed).error, 'ECONNREFUSED');
      client.write('meanwhile');
      assert.equal(String((await once(client, 'data'))[0]), 'meanwhile');
      client.end();
      assert.equal(await draining, 0);
      assert.equal((await proxy.connectionLine())['code'], undefined);
    });

    it('one that is open when the grace is over is reset', async (t) => {
      const { proxy, connect } = await through(t, mode, (socket) => {
        socket.pipe(socket);
      });
      const { stream: client } = await connect();
      client.write('x');
      await once(client, 'data');
      const failed = once(client, 'error');
      assert.equal(await proxy.drain(50), 1);
      assert.equal(systemCode((await failed)[0]), 'ECONNRESET');
      const line = await proxy.connectionLine();
      assert.deepEqual([line['code'], line['side'], line['phase']], ['ERR_SHUTDOWN', 'proxy', 'splice']);
      assert.match(String(line['error']), /50 ms/);
    });
  });
}

describe('a drain', () => {
  it('ends those who are not established yet, too, and says which they were', async (t) => {
    const upstream = await echoUpstream(t);
    const proxy = await startProxy(t, {
      listeners: { tls: { routes: [{ tls: 'passthrough', upstream: 'echo' }] } },
      upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
    });
    const client = rawClient(t, proxy.port());
    client.socket.write(capturedHello('node-26').subarray(0, 100));
    const other = rawClient(t, proxy.port());
    await Promise.all([client.connected, other.connected]);
    // Accepted, not only connected: the log of a third tells.
    const third = rawClient(t, proxy.port());
    third.socket.end('x');
    await proxy.connectionLine();
    assert.equal(await proxy.drain(20), 2);
    assert.equal((await client.closed).error, 'ECONNRESET');
    await eventually(() => {
      const cut = proxy.log.filter(({ msg, code }) => msg === 'connection' && code === 'ERR_SHUTDOWN');
      assert.deepEqual(
        cut.map(({ phase }) => phase),
        ['peek', 'peek'],
      );
    });
  });

  it('that is called again cuts the grace short', async (t) => {
    const { proxy, connect } = await through(t, 'terminate', (socket) => {
      socket.pipe(socket);
    });
    const { stream: client } = await connect();
    client.write('x');
    await once(client, 'data');
    const failed = once(client, 'error');
    const first = proxy.drain(Number.POSITIVE_INFINITY);
    const second = proxy.drain(0);
    assert.equal(systemCode((await failed)[0]), 'ECONNRESET');
    assert.deepEqual(await Promise.all([first, second]), [1, 1]);
  });

  it('with nothing open is over at once, and removes its socket file', async (t) => {
    const proxy = await startProxy(t, {
      listeners: { plain: { bind: 'unix:in.sock', routes: [{ tls: 'off', upstream: 'echo' }] } },
      upstreams: { echo: { endpoints: ['127.0.0.1:9'] } },
    });
    assert.ok(existsSync(`${proxy.directory}/in.sock`));
    assert.equal(await proxy.drain(Number.POSITIVE_INFINITY), 0);
    assert.equal(existsSync(`${proxy.directory}/in.sock`), false);
  });
});
