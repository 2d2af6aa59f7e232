/**
 * `connect_ms` is the dial alone: neither the time in the upstream's queue, which has a field and a metric of its own for
 * those that were in it, nor, with `dial: early`, the time that the client took.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { dial } from '../../src/upstream/dial.ts';
import { createResolver } from '../../src/upstream/resolve.ts';
import { createUpstream } from '../../src/upstream/upstream.ts';
import { eventually } from '../support/eventually.ts';
import { http } from '../support/http.ts';
import { parseMetrics } from '../support/metrics.ts';
import { mortalUpstream } from '../support/mortal.ts';
import { startPenstock } from '../support/penstock.ts';
import { clientOf, upstreamConfig } from '../support/upstream.ts';

function client(t: TestContext, port: number): Socket {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  t.after(() => socket.destroy());
  socket.write('ping');
  return socket;
}

test('who was in the queue is told how long, and its dial apart', async (t) => {
  const upstream = await mortalUpstream(t);
  const limits = { connections: 1, queue: { max: 5, timeout: '400ms' } };
  const penstock = await startPenstock(t, {
    workers: 1,
    admin: { bind: '127.0.0.1:0' },
    listeners: { one: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'orders' }] } },
    upstreams: { orders: { endpoints: [upstream.address], limits } },
  });
  const port = penstock.port('one');
  const lines = () => penstock.log().filter(({ msg }) => msg === 'connection');
  const first = client(t, port);
  await once(first, 'data');
  client(t, port);
  await eventually(() => assert.equal(lines()[0]?.['code'], 'ERR_UPSTREAM_QUEUE_TIMEOUT'));
  const second = client(t, port);
  await sleep(200);
  first.end();
  await once(second, 'data');
  second.end();
  await eventually(() => assert.equal(lines().length, 3));
  const [late, served, waited] = lines().map((line) => ({
    queue: line['queue_ms'] as number | undefined,
    connect: line['connect_ms'] as number | undefined,
  }));
  assert.ok(late?.queue && late.queue >= 399, `${late?.queue}`);
  assert.equal(late.connect, undefined);
  assert.equal(served?.queue, undefined);
  assert.ok(waited?.queue && waited.connect !== undefined);
  assert.ok(waited.connect < waited.queue, JSON.stringify(waited));

  const admin = String(penstock.log().find(({ msg }) => msg === 'ready')?.['admin']);
  const samples = parseMetrics((await http(admin, '/metrics')).body);
  const value = (name: string) =>
    samples.find((it) => it.name === name && it.labels['upstream'] === 'orders')?.value;
  assert.equal(value('penstock_upstream_queue_seconds_count'), 2);
  assert.equal(value('penstock_upstream_connect_seconds_count'), 2);
  const seconds = (name: string) => Number(value(`penstock_upstream_${name}_seconds_sum`));
  assert.ok(seconds('queue') >= 0.399 && seconds('connect') < seconds('queue'));
});

test('an early dial is not charged with what its client took', async (t) => {
  const upstream = await mortalUpstream(t);
  const dialled = await dial(
    createUpstream('orders', upstreamConfig({ endpoints: [upstream.address] }), createResolver()),
    {
      client: clientOf(),
      signal: new AbortController().signal,
      clientReady: sleep(300),
      prepare: async (side) => side,
    },
  );
  dialled.prepared.raw.destroy();
  assert.ok(dialled.connectMs >= 0 && dialled.connectMs < 150, `${dialled.connectMs}`);
});
