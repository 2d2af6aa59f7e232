/**
 * Warm connections count against `limits.connections` of the upstream, so that it never has more than it may; but no client is refused,
 * or waits, because of them: not in their own worker, and not in another.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createPatience } from '../../src/ipc/patience.ts';
import { leasedQuota, localQuota } from '../../src/ipc/quota.ts';
import { eventually } from '../support/eventually.ts';
import { startPenstock } from '../support/penstock.ts';
import { rawClient } from '../support/raw-client.ts';
import { recorder, warmConfig, warmProxy } from '../support/warm.ts';

describe('under a limit of connections', () => {
  for (const queue of [undefined, { max: 10, timeout: '60s' }]) {
    it(`every place is for clients${queue ? ', and none waits in the queue' : ''}`, async (t) => {
      const upstream = await recorder(t);
      const limits = { connections: 5, queue };
      const proxy = await warmProxy(t, upstream, { warm: { connections: 4 }, limits });
      await upstream.opened(4);
      const clients = Array.from({ length: 5 }, () => rawClient(t, proxy.port()));
      for (const { socket } of clients) socket.write('ping');
      for (const client of clients) assert.equal(`${await client.until(4)}`, 'ping');
      await upstream.opened(5);
      if (queue) return;
      const sixth = rawClient(t, proxy.port());
      await sixth.closed;
      const line = await proxy.connectionLine();
      assert.equal(line['code'], 'ERR_UPSTREAM_LIMIT');
    });
  }

  it('no more are made than there is room for, one place left', async (t) => {
    const upstream = await recorder(t);
    const limits = { connections: 3 };
    const proxy = await warmProxy(t, upstream, { warm: { connections: 10 }, limits });
    await upstream.opened(2);
    const client = rawClient(t, proxy.port());
    client.socket.write('ping');
    await client.until(4);
    client.socket.destroy();
    await eventually(() => assert.equal(upstream.open().length, 2));
    assert.ok(upstream.accepted.length <= 4, `${upstream.accepted.length}`);
  });

  it('another worker gives its own up for a client', async (t) => {
    const upstream = await recorder(t);
    const limits = { connections: 6 };
    const config = warmConfig(upstream, { warm: { connections: 4 }, limits });
    const penstock = await startPenstock(t, {
      workers: 2,
      ...config,
      listeners: { in: { bind: '127.0.0.1:0', ...config.listeners['in'] } },
    });
    await eventually(() => assert.ok(upstream.open().length >= 3));
    const clients = Array.from({ length: 6 }, () => rawClient(t, penstock.port('in')));
    for (const { socket } of clients) socket.write('ping');
    for (const client of clients) assert.equal(`${await client.until(4)}`, 'ping');
    await eventually(() => assert.ok(upstream.open().length <= 6));
  });
});

describe('a place that can be done without, where processes share the limit', () => {
  /** `free` can be granted without asking anybody; whoever asks for more gets nothing. */
  function leased(free: number) {
    let left = free;
    const grant = async (wanted: number) => {
      const granted = Math.min(wanted, left);
      left -= granted;
      return granted;
    };
    const lessor = { request: async () => 0, requestFree: grant, giveBack() {}, claim() {} };
    return leasedQuota(lessor, () => 100, createPatience());
  }

  it('is a client’s when no other is granted', async () => {
    const quota = leased(3);
    const givenUp: string[] = [];
    await quota.takeSpare(() => givenUp.push('first'));
    await quota.takeSpare(() => givenUp.push('second'));
    assert.equal(await quota.takeSpare(() => {}), undefined);
    assert.equal(quota.take(), true);
    assert.equal(quota.take(), true);
    assert.deepEqual(givenUp, ['first']);
    assert.equal(quota.used(), 3);
  });

  it('is given back, one for each that another process asks for', async () => {
    const quota = leased(3);
    const givenUp: string[] = [];
    await quota.takeSpare(() => givenUp.push('first'));
    await quota.takeSpare(() => givenUp.push('second'));
    assert.deepEqual([quota.reclaim(), quota.reclaim(), quota.reclaim(), quota.reclaim()], [1, 1, 1, 0]);
    assert.deepEqual(givenUp, ['first', 'second']);
    assert.equal(quota.used(), 0);
  });
});

describe('a place that can be done without', () => {
  it('is taken only beside a free one, the oldest is given up first, and given back once', () => {
    const quota = localQuota(3);
    const givenUp: string[] = [];
    const first = quota.takeSpare(() => givenUp.push('first')) as () => void;
    const second = quota.takeSpare(() => givenUp.push('second')) as () => void;
    assert.equal(
      quota.takeSpare(() => {}),
      undefined,
    );
    assert.equal(quota.take(), true);
    assert.deepEqual(givenUp, []);
    assert.equal(quota.take(), true);
    assert.deepEqual(givenUp, ['first']);
    first();
    assert.equal(quota.used(), 3);
    second();
    second();
    assert.equal(quota.used(), 2);
    assert.equal(quota.take(), true);
    assert.equal(quota.take(), false);
  });
});
