/**
 * What a worker counts only grows, whenever it is asked: bytes and handshakes of open connections count at once, and not
 * again when they end. The supervisor's sums keep what dead workers counted, drop their open connections, and take counts
 * that were on their way when a worker ended.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createRecord } from '../../src/connection/state.ts';
import type { AccessRecord } from '../../src/observe/access-log.ts';
import { createMetricsHub } from '../../src/observe/hub.ts';
import { createWorkerMetrics, type MetricsSnapshot } from '../../src/observe/metrics.ts';
import { factsOf, parseMetrics } from '../support/metrics.ts';

const listeners = ['a', 'constructor'];

test('a worker counts each connection once, whenever it is asked', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('open' as const), listener: fc.constantFrom(...listeners) }),
    fc.record({ kind: fc.constant('move' as const), which: fc.nat(), in: fc.nat(5000), out: fc.nat(5000) }),
    fc.record({
      kind: fc.constant('shake' as const),
      which: fc.nat(),
      ms: fc.double({ min: 0, max: 20_000, noNaN: true }),
    }),
    fc.record({ kind: fc.constant('close' as const), which: fc.nat(), failed: fc.boolean() }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const metrics = createWorkerMetrics();
      const live: AccessRecord[] = [];
      const sent = { in: 0, out: 0, handshakes: 0, closed: 0, opened: 0 };
      let before = metrics.snapshot(live);
      for (const one of steps) {
        if (one.kind === 'open') {
          metrics.opened(one.listener);
          live.push(record(one.listener));
          sent.opened += 1;
        } else if (live.length > 0) {
          const chosen = live[one.which % live.length] as AccessRecord;
          if (one.kind === 'move') {
            chosen.bytes.in += one.in;
            chosen.bytes.out += one.out;
            sent.in += one.in;
            sent.out += one.out;
          } else if (one.kind === 'shake') {
            if (chosen.handshakeMs === undefined) sent.handshakes += 1;
            chosen.handshakeMs ??= one.ms;
          } else {
            if (one.failed) chosen.code = 'ERR_CLIENT_RESET';
            live.splice(live.indexOf(chosen), 1);
            metrics.closed(chosen);
            sent.closed += 1;
          }
        }
        const now = metrics.snapshot(live);
        assertGrown(before, now);
        before = now;
      }
      assert.deepEqual(summed(before), sent);
    }),
  );
});

test('a snapshot is a copy: what is counted later does not change it', () => {
  const metrics = createWorkerMetrics();
  metrics.opened('a');
  const snapshot = metrics.snapshot([]);
  metrics.opened('a');
  assert.equal(snapshot.listeners.get('a')?.opened, 1);
  assert.deepEqual(structuredClone(snapshot), snapshot);
});

test('a dead worker’s totals are kept, its open connections are not', async () => {
  const hub = createMetricsHub({ version: '1.2.3' });
  hub.update(1, counted({ ended: 3, open: 2, bytes: 100 }));
  hub.update(2, counted({ ended: 1, open: 1, bytes: 10 }));
  assert.deepEqual(await told(hub), {
    total: 4,
    active: 3,
    bytes: 520,
    workers: ['1', '2', 'supervisor'],
  });
  hub.retire(1);
  hub.retire(1);
  assert.deepEqual(await told(hub), { total: 4, active: 1, bytes: 520, workers: ['2', 'supervisor'] });
  hub.update(3, counted({ ended: 0, open: 0, bytes: 0 }));
  assert.deepEqual(await told(hub), { total: 4, active: 1, bytes: 520, workers: ['2', '3', 'supervisor'] });
});

test('counts that were on their way when their worker ended replace its last ones', async () => {
  const hub = createMetricsHub({ version: '1.2.3' });
  hub.update(1, counted({ ended: 3, open: 2, bytes: 100 }));
  hub.retire(1);
  hub.update(1, counted({ ended: 5, open: 0, bytes: 100 }));
  assert.deepEqual(await told(hub), { total: 5, active: 0, bytes: 500, workers: ['supervisor'] });
  hub.retire(2);
  hub.update(2, counted({ ended: 1, open: 1, bytes: 1 }));
  assert.deepEqual(await told(hub), { total: 6, active: 0, bytes: 502, workers: ['supervisor'] });
});

test('a thousand workers that came and went are still counted', async () => {
  const hub = createMetricsHub({ version: '1.2.3' });
  for (let id = 1; id <= 1000; id += 1) {
    hub.update(id, counted({ ended: 1, open: 1, bytes: 1 }));
    hub.retire(id);
  }
  assert.deepEqual(await told(hub), { total: 1000, active: 0, bytes: 2000, workers: ['supervisor'] });
});

/** What a worker counted of connections that have ended and of open ones, each of so many bytes. */
function counted({ ended, open, bytes }: { ended: number; open: number; bytes: number }): MetricsSnapshot {
  const metrics = createWorkerMetrics();
  const records = Array.from({ length: ended + open }, () => {
    const one = record('a');
    one.bytes.in = bytes;
    metrics.opened('a');
    return one;
  });
  for (const one of records.slice(0, ended)) metrics.closed(one);
  return metrics.snapshot(records.slice(ended));
}

async function told(hub: ReturnType<typeof createMetricsHub>) {
  const samples = parseMetrics(await hub.render(factsOf({ listeners: ['a'] })));
  const sum = (name: string) =>
    samples.filter((one) => one.name === name).reduce((total, { value }) => total + value, 0);
  return {
    total: sum('penstock_connections_total'),
    active: sum('penstock_connections_active'),
    bytes: sum('penstock_bytes_total'),
    workers: samples
      .filter(({ name }) => name === 'process_cpu_seconds_total')
      .map(({ labels }) => labels['worker'])
      .sort(),
  };
}

function record(listener: string): AccessRecord {
  const made = createRecord(listener, 'c', { address: '192.0.2.1', port: 1024 });
  made.route = 0;
  made.tls = { version: 'TLSv1.3', cipher: 'TLS_AES_128_GCM_SHA256', resumed: false };
  return made;
}

function assertGrown(before: MetricsSnapshot, now: MetricsSnapshot): void {
  for (const [name, was] of before.listeners) {
    const is = now.listeners.get(name);
    assert.ok(is && is.opened >= was.opened && is.closed >= was.closed && is.opened >= is.closed);
    assert.ok(is.bytesIn >= was.bytesIn && is.bytesOut >= was.bytesOut);
    for (const [bucket, count] of was.handshakes.full.counts.entries()) {
      assert.ok((is.handshakes.full.counts[bucket] ?? 0) >= count);
    }
  }
}

function summed({ listeners }: MetricsSnapshot) {
  const sum = { in: 0, out: 0, handshakes: 0, closed: 0, opened: 0 };
  for (const counts of listeners.values()) {
    sum.in += counts.bytesIn;
    sum.out += counts.bytesOut;
    sum.opened += counts.opened;
    sum.closed += counts.closed;
    sum.handshakes += counts.handshakes.full.counts.reduce((total, count) => total + count, 0);
  }
  return sum;
}
