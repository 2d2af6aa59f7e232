/**
 * A client of a new configuration is never given a connection of the one before: a reload ends them, with whatever they were verified by, as a
 * drain does, and an address that its name has no more. Those that clients have stay.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Resolver } from '../../src/upstream/resolve.ts';
import { eventually } from '../support/eventually.ts';
import { exchange, startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { recorder, warmConfig, warmProxy } from '../support/warm.ts';

describe('warm connections', () => {
  it('end at a reload, and others are made; an open one stays', async (t) => {
    const upstream = await recorder(t);
    const proxy = await warmProxy(t, upstream, {});
    await upstream.opened(2);
    const client = rawClient(t, proxy.port());
    client.socket.write('ping');
    await client.until(4);
    await upstream.opened(3);
    const former = upstream.open().filter(({ received }) => received === '');
    await proxy.reload(warmConfig(upstream, { timeouts: { connect: '2s' } }));
    const { received } = await exchange(proxy.port(), 'pong');
    assert.equal(`${received}`, 'pong');
    await eventually(() => assert.ok(former.every(({ hasEnded }) => hasEnded)));
    assert.ok(former.every((one) => one.received === ''));
    await upstream.opened(3);
    client.socket.write('ping');
    assert.equal(`${await client.until(8)}`, 'pingping');
  });

  it('end at a reload although a client is still on its way in under the former configuration', async (t) => {
    const upstream = await recorder(t);
    const listeners = { in: { routes: [{ tls: 'passthrough', upstream: 'app' }] } };
    const proxy = await warmProxy(t, upstream, {}, { listeners });
    await upstream.opened(2);
    const client = rawClient(t, proxy.port());
    await client.connected;
    await proxy.reload(warmConfig(upstream, { warm: undefined }, { listeners }));
    await upstream.opened(0);
    assert.equal(client.socket.destroyed, false);
  });

  it('end for ever at a reload that has none', async (t) => {
    const upstream = await recorder(t);
    const proxy = await warmProxy(t, upstream, {});
    await upstream.opened(2);
    await proxy.reload(warmConfig(upstream, { warm: undefined }));
    await upstream.opened(0);
    await exchange(proxy.port(), 'ping');
    assert.equal(upstream.accepted.length, 3);
  });

  it('end when the proxy drains, before its clients do', async (t) => {
    const upstream = await recorder(t);
    const proxy = await warmProxy(t, upstream, {});
    await upstream.opened(2);
    const client = rawClient(t, proxy.port());
    client.socket.write('ping');
    await client.until(4);
    await upstream.opened(3);
    const drained = proxy.drain(60_000);
    await upstream.opened(1);
    client.socket.end();
    assert.equal(await drained, 0);
  });

  for (const each_address of [true, false]) {
    it(`end when their address is gone from their name (each_address: ${each_address})`, async (t) => {
      const former = await recorder(t);
      const next = await recorder(t, { host: '127.0.0.2', port: former.port });
      let addresses = ['127.0.0.1'];
      const resolver: Resolver = { resolve: async () => addresses };
      const settings = { resolve: { ttl: '1ms', each_address }, warm: { connections: 1 } };
      const config = warmConfig([`db.test:${former.port}`], settings);
      const proxy = await startProxy(t, config, {}, { resolver });
      await former.opened(1);
      addresses = ['127.0.0.2'];
      await former.opened(0);
      await next.opened(1);
      const { received } = await exchange(proxy.port(), 'ping');
      assert.equal(`${received}`, 'ping');
      assert.equal(next.accepted[0]?.received, 'ping');
    });
  }
});
