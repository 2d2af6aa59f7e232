/**
 * The metrics have their names, labels and values: each outcome, code, side, handshake and dial is where a query looks for
 * it, listeners are there before their first client, and of several dates the first counts. No label holds what a client
 * sent.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRecord } from '../../src/connection/state.ts';
import type { AccessRecord } from '../../src/observe/access-log.ts';
import { createMetricsHub } from '../../src/observe/hub.ts';
import { createWorkerMetrics } from '../../src/observe/metrics.ts';
import { factsOf, parseMetrics, type Sample } from '../support/metrics.ts';

const facts = factsOf({
  ready: false,
  listeners: ['db', 'quiet'],
  endpoints: [
    { upstream: 'orders', endpoint: '10.0.0.1:5432', up: true },
    { upstream: 'orders', endpoint: '10.0.0.2:5432', up: false },
  ],
  certificates: [
    { name: 'web', notAfter: new Date(2_000_000) },
    { name: 'web', notAfter: new Date(1_000_000) },
    { name: 'api', notAfter: new Date(3_000_000) },
  ],
  authorities: [{ name: 'clients', notAfter: new Date(4_000_000) }],
  crls: [{ authority: 'clients', nextUpdate: new Date(5_000_000) }],
  reloads: { success: 3, failure: 1, lastSuccess: new Date(6_000_000), lastOk: false },
  workerCrashes: 2,
});

test('what connections came to', async () => {
  const samples = await rendered([
    { route: 'orders' },
    { route: 'orders', code: 'ERR_CLIENT_RESET', side: 'client' },
    { route: 7, code: 'ERR_CLIENT_CERT_NOT_ALLOWED', side: 'client' },
    { code: 'ERR_CONNECTION_LIMIT', side: 'proxy' },
    { route: 'orders', code: 'ERR_UPSTREAM_CONNECT', side: 'upstream' },
    { code: 'ERR_CLIENT_CLOSED', side: 'client', isProbe: true },
  ]);
  const outcome = (route: string, outcome: string) =>
    theValue(samples, 'penstock_connections_total', { listener: 'db', route, outcome });
  assert.equal(outcome('orders', 'ok'), 1);
  assert.equal(outcome('orders', 'error'), 2);
  assert.equal(outcome('orders', 'refused'), 0);
  assert.equal(outcome('7', 'refused'), 1);
  assert.equal(outcome('', 'refused'), 1);
  assert.deepEqual([outcome('', 'probe'), outcome('', 'error')], [1, 0]);
  const errors = samples.filter(({ name }) => name === 'penstock_connection_errors_total');
  assert.deepEqual(errors.map(({ labels }) => [labels['side'], labels['code']]).sort(), [
    ['client', 'ERR_CLIENT_CERT_NOT_ALLOWED'],
    ['client', 'ERR_CLIENT_RESET'],
    ['proxy', 'ERR_CONNECTION_LIMIT'],
    ['upstream', 'ERR_UPSTREAM_CONNECT'],
  ]);
});

test('how long handshakes and dials took', async () => {
  const resumed = { version: 'TLSv1.3', cipher: 'x', resumed: true };
  const samples = await rendered([
    { handshakeMs: 1.5, tls: { ...resumed, resumed: false } },
    { handshakeMs: 2.5, tls: { ...resumed, resumed: false } },
    { handshakeMs: 20_000, tls: { ...resumed, resumed: false } },
    { handshakeMs: 0.4, tls: resumed, upstream: 'orders', connectMs: 30 },
    { upstream: 'orders' },
  ]);
  const full = { listener: 'db', resumed: 'false' };
  const bucket = (le: string) => theValue(samples, 'penstock_handshake_seconds_bucket', { ...full, le });
  assert.deepEqual(['0.001', '0.0025', '10', '+Inf'].map(bucket), [0, 2, 2, 3]);
  assert.equal(theValue(samples, 'penstock_handshake_seconds_sum', full), 20.004);
  assert.equal(theValue(samples, 'penstock_handshake_seconds_count', { ...full, resumed: 'true' }), 1);
  assert.equal(theValue(samples, 'penstock_upstream_connect_seconds_count', { upstream: 'orders' }), 1);
  assert.equal(
    theValue(samples, 'penstock_upstream_connect_seconds_bucket', { upstream: 'orders', le: '0.05' }),
    1,
  );
});

test('a listener is told of before its first client', async () => {
  const samples = await rendered([]);
  assert.equal(theValue(samples, 'penstock_connections_active', { listener: 'quiet' }), 0);
  assert.equal(theValue(samples, 'penstock_bytes_total', { listener: 'quiet', direction: 'out' }), 0);
  const handshakes = { listener: 'quiet', resumed: 'true' };
  assert.equal(theValue(samples, 'penstock_handshake_seconds_count', handshakes), 0);
});

test('what the supervisor knows', async () => {
  const samples = await rendered([]);
  const value = (name: string, labels = {}) => theValue(samples, name, labels);
  assert.equal(value('penstock_ready'), 0);
  assert.equal(value('penstock_upstream_endpoint_up', { upstream: 'orders', endpoint: '10.0.0.1:5432' }), 1);
  assert.equal(value('penstock_upstream_endpoint_up', { upstream: 'orders', endpoint: '10.0.0.2:5432' }), 0);
  assert.equal(value('penstock_certificate_expiry_timestamp_seconds', { certificate: 'web' }), 1000);
  assert.equal(value('penstock_certificate_expiry_timestamp_seconds', { certificate: 'api' }), 3000);
  assert.equal(value('penstock_authority_expiry_timestamp_seconds', { authority: 'clients' }), 4000);
  assert.equal(value('penstock_crl_expiry_timestamp_seconds', { authority: 'clients' }), 5000);
  assert.equal(value('penstock_config_reloads_total', { result: 'success' }), 3);
  assert.equal(value('penstock_config_reloads_total', { result: 'failure' }), 1);
  assert.equal(value('penstock_config_last_reload_success_timestamp_seconds'), 6000);
  assert.equal(value('penstock_config_last_reload_successful'), 0);
  assert.equal(value('penstock_worker_crashes_total'), 2);
  assert.equal(value('penstock_build_info', { version: '1.2.3', node: process.version }), 1);
  for (const worker of ['1', 'supervisor']) {
    assert.ok(value('process_resident_memory_bytes', { worker }) > 1e7);
    assert.ok(value('process_cpu_seconds_total', { worker }) > 0);
    assert.ok(Math.abs(value('process_start_time_seconds', { worker }) - Date.now() / 1000) < 3600);
    assert.ok(value('penstock_worker_busy_seconds_total', { worker }) >= 0);
    assert.ok(value('nodejs_heap_size_used_bytes', { worker }) > 1e6);
    // A test's process has its pipe to the runner; which type that is, is Node's to say.
    assert.ok(
      samples.some(
        ({ name, labels, value: count }) =>
          name === 'nodejs_active_resources' && labels['worker'] === worker && labels['type'] && count > 0,
      ),
    );
  }
});

test('what a client sent is in no label', async () => {
  const samples = await rendered([
    {
      sni: 'chosen-by-client',
      alpn: 'chosen-by-client',
      ja4: 'chosen-by-client',
      endpoint: 'chosen-by-client.tenants:5432',
      error: 'chosen-by-client',
      clientCert: { fingerprint: 'chosen-by-client', subject: 'chosen-by-client' },
      code: 'ERR_UPSTREAM_CONNECT',
      side: 'upstream',
      upstream: 'tenants',
      connectMs: 1,
    },
  ]);
  assert.ok(samples.length > 20);
  assert.doesNotMatch(JSON.stringify(samples), /chosen-by-client/);
});

/** The metrics of a worker whose clients ended like this. */
async function rendered(ends: readonly Partial<AccessRecord>[]): Promise<Sample[]> {
  const metrics = createWorkerMetrics();
  for (const end of ends) {
    metrics.opened('db');
    metrics.closed({ ...createRecord('db', 'c', { address: '192.0.2.1', port: 1 }), ...end });
  }
  const hub = createMetricsHub({ version: '1.2.3' });
  hub.update(1, metrics.snapshot([]));
  return parseMetrics(await hub.render(facts));
}

/** The value of the one sample with these labels and no others. */
function theValue(samples: readonly Sample[], name: string, labels: Record<string, string>): number {
  const found = samples.filter(
    (one) =>
      one.name === name &&
      Object.keys(one.labels).length === Object.keys(labels).length &&
      Object.entries(labels).every(([key, value]) => one.labels[key] === value),
  );
  assert.equal(found.length, 1, `${name} ${JSON.stringify(labels)}: ${JSON.stringify(found)}`);
  return found[0]?.value ?? Number.NaN;
}
