/**
 * With `warm` each worker has so many connections to each endpoint before a client comes. A client is given the oldest, another is
 * made in its place, and the log says so; without `warm`, or for an endpoint that a client chooses, none is made.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { exchange } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { recorder, warmProxy } from '../support/warm.ts';

describe('warm connections', () => {
  it('are there before the first client, and made anew as they are taken', async (t) => {
    const upstream = await recorder(t);
    const proxy = await warmProxy(t, upstream, { warm: { connections: 3 } });
    await upstream.opened(3);
    const client = rawClient(t, proxy.port());
    client.socket.write('ping');
    assert.equal(`${await client.until(4)}`, 'ping');
    const those = upstream.accepted.slice(0, 3).map(({ received }) => received);
    assert.deepEqual(those.sort(), ['', '', 'ping']);
    await upstream.opened(4);
    client.socket.end();
    await client.closed;
    await upstream.opened(3);
    const line = await proxy.connectionLine();
    assert.equal(line['warm'], true);
    assert.equal(line['endpoint'], `127.0.0.1:${upstream.port}`);
    assert.ok(Number(line['connect_ms']) >= 0);
    assert.equal(line['code'], undefined);
  });

  it('serve as many clients as come, those too that find none', async (t) => {
    const upstream = await recorder(t);
    const proxy = await warmProxy(t, upstream, {});
    await upstream.opened(2);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => exchange(proxy.port(), `client ${index}`)),
    );
    assert.deepEqual(
      answers.map(({ received }) => `${received}`),
      Array.from({ length: 20 }, (_, index) => `client ${index}`),
    );
    await eventually(() => assert.equal(proxy.log.filter(({ msg }) => msg === 'connection').length, 20));
    const warm = proxy.log.filter((line) => line['warm'] === true).length;
    assert.ok(warm >= 2 && warm <= 20, `${warm}`);
  });

  it('carry megabytes both ways, and a half-close', async (t) => {
    const upstream = await recorder(t);
    const proxy = await warmProxy(t, upstream, {});
    await upstream.opened(2);
    const payload = randomBytes(4 * 1024 * 1024);
    const { received, reset } = await exchange(proxy.port(), payload);
    assert.ok(received.equals(payload));
    assert.equal(reset, false);
    assert.equal((await proxy.connectionLine())['warm'], true);
  });

  it('are kept to each endpoint', async (t) => {
    const upstreams = await Promise.all([recorder(t), recorder(t, { host: '127.0.0.2' })]);
    const [one, other] = upstreams;
    await warmProxy(t, [`127.0.0.1:${one?.port}`, `127.0.0.2:${other?.port}`], {});
    for (const upstream of upstreams) await upstream.opened(2);
  });

  it('are not made where nobody asked for them', async (t) => {
    const upstream = await recorder(t);
    const proxy = await warmProxy(t, upstream, { warm: undefined });
    await exchange(proxy.port(), 'ping');
    assert.equal(upstream.accepted.length, 1);
    assert.equal((await proxy.connectionLine())['warm'], undefined);
  });
});
