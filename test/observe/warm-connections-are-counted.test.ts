/** How many connections are ready, and what became of those that were: in the metrics and in `/status`, of all workers together. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { parseMetrics } from '../support/metrics.ts';
import { startPenstock } from '../support/penstock.ts';
import { exchange } from '../support/proxy.ts';
import { recorder, warmConfig } from '../support/warm.ts';

test('of two workers', async (t) => {
  const upstream = await recorder(t);
  const config = warmConfig(upstream, { warm: { connections: 3 } });
  const penstock = await startPenstock(t, {
    workers: 2,
    ...config,
    admin: { bind: '127.0.0.1:0' },
    listeners: { in: { bind: '127.0.0.1:0', ...config.listeners['in'] } },
  });
  const admin = String(penstock.log().find(({ msg }) => msg === 'ready')?.['admin']);
  const endpoint = `127.0.0.1:${upstream.port}`;
  const read = async (name: string, labels: object) => {
    const samples = parseMetrics(await (await fetch(`http://${admin}/metrics`)).text());
    const isMeant = (it: { name: string; labels: object }) =>
      it.name === name && JSON.stringify(it.labels) === JSON.stringify({ upstream: 'app', ...labels });
    return samples.find(isMeant)?.value;
  };
  const ready = () => read('penstock_upstream_warm_connections', { endpoint });
  await eventually(async () => assert.equal(await ready(), 6));
  for (let count = 0; count < 4; count += 1) await exchange(penstock.port('in'), 'ping');
  await eventually(async () => {
    const [taken = 0, missed = 0] = [
      await read('penstock_upstream_warm_total', { outcome: 'taken' }),
      await read('penstock_upstream_warm_total', { outcome: 'missed' }),
    ];
    assert.equal(taken + missed, 4);
    assert.ok(taken > 0);
  });
  await eventually(async () => assert.equal(await ready(), 6));
  for (const { socket } of upstream.open()) socket.end();
  await eventually(async () =>
    assert.equal(await read('penstock_upstream_warm_total', { outcome: 'closed' }), 6),
  );
  assert.equal(await read('penstock_upstream_warm_total', { outcome: 'expired' }), 0);
  await eventually(async () => {
    const { upstreams } = (await (await fetch(`http://${admin}/status`)).json()) as {
      upstreams: { endpoints: { label: string; warm: number; active: number }[] }[];
    };
    const [shown] = upstreams[0]?.endpoints ?? [];
    assert.deepEqual([shown?.label, shown?.warm, shown?.active], [endpoint, 6, 0]);
  });
});
