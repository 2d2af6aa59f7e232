/**
 * `otlp`: a collector gets each line of the log of every process, with its severity and fields, and the metrics, as OTLP over HTTP;
 * one that cannot be reached costs no connection; a package that is missing is named.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { importOptional } from '../../src/observe/otlp.ts';
import { echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { startPenstock } from '../support/penstock.ts';
import { exchange } from '../support/proxy.ts';
import { closedPort } from '../support/upstream.ts';

type Value = { readonly stringValue?: string; readonly intValue?: number; readonly doubleValue?: number };
type Attribute = { readonly key: string; readonly value: Value };
type LogRecord = {
  readonly severityNumber: number;
  readonly severityText: string;
  readonly body: Value;
  readonly attributes: readonly Attribute[];
};
type Metric = {
  readonly name: string;
  readonly sum?: { readonly isMonotonic: boolean; readonly dataPoints: readonly Point[] };
  readonly gauge?: { readonly dataPoints: readonly Point[] };
  readonly histogram?: { readonly dataPoints: readonly Bucketed[] };
};
type Point = {
  readonly attributes: readonly Attribute[];
  readonly asDouble?: number;
  readonly asInt?: number;
};
type Bucketed = {
  readonly count: number;
  readonly bucketCounts: readonly number[];
  readonly explicitBounds: readonly number[];
};
type Batch = {
  readonly resourceLogs?: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeLogs: readonly { readonly logRecords: readonly LogRecord[] }[];
  }[];
  readonly resourceMetrics?: readonly {
    readonly scopeMetrics: readonly { readonly metrics: readonly Metric[] }[];
  }[];
};

/** A collector, and what it was sent. */
async function collector(t: TestContext) {
  const batches: Batch[] = [];
  const headers: unknown[] = [];
  const server = createServer(async (request, response) => {
    headers.push([request.url, request.headers['x-token'], request.headers['content-type']]);
    batches.push((await json(request)) as Batch);
    response.setHeader('content-type', 'application/json').end('{}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const resourceLogs = () => batches.flatMap((batch) => batch.resourceLogs ?? []);
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    headers,
    resourceLogs,
    records: () =>
      resourceLogs().flatMap(({ scopeLogs }) => scopeLogs.flatMap(({ logRecords }) => logRecords)),
    metrics: () =>
      batches.flatMap((batch) =>
        (batch.resourceMetrics ?? []).flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((it) => it.metrics)),
      ),
  };
}

const configOf = (port: number, otlp: object) => ({
  workers: 1,
  otlp,
  listeners: { one: { bind: '127.0.0.1:0', routes: [{ name: 'all', tls: 'off', upstream: 'u' }] } },
  upstreams: { u: { endpoints: [`127.0.0.1:${port}`] } },
});
const named = (attributes: readonly Attribute[]) =>
  Object.fromEntries(
    attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue ?? value.doubleValue]),
  );

test('a collector gets lines and metrics', async (t) => {
  const sent = await collector(t);
  const { port } = await echoUpstream(t);
  const otlp = {
    endpoint: sent.endpoint,
    interval: '1s',
    headers: { 'x-token': 'secret' },
    resource: { 'deployment.environment.name': 'test' },
  };
  const penstock = await startPenstock(t, configOf(port, otlp));
  await exchange(penstock.port('one'), 'ping');
  await eventually(() => {
    const record = sent.records().find(({ body }) => body.stringValue === 'connection');
    assert.ok(record);
    const { listener, route, bytes_in, level, msg } = named(record.attributes);
    assert.deepEqual(
      [listener, route, Number(bytes_in), level, msg],
      ['one', 'all', 4, undefined, undefined],
    );
    assert.deepEqual([record.severityText, record.severityNumber], ['info', 9]);
  }, 20_000);
  const resource = named(sent.resourceLogs()[0]?.resource.attributes ?? []);
  assert.deepEqual([resource['service.name'], resource['deployment.environment.name']], ['penstock', 'test']);
  await eventually(() => {
    const find = (name: string) => sent.metrics().findLast((metric) => metric.name === name);
    const points = find('penstock_connections_total')?.sum;
    const ok = points?.dataPoints.find(({ attributes }) => named(attributes)['outcome'] === 'ok');
    assert.deepEqual([points?.isMonotonic, ok?.asDouble ?? ok?.asInt], [true, 1]);
    assert.ok(find('penstock_ready')?.gauge);
    const [dials] = find('penstock_upstream_connect_seconds')?.histogram?.dataPoints ?? [];
    assert.equal(Number(dials?.count), 1);
    assert.equal(
      dials?.bucketCounts.reduce((sum, one) => sum + Number(one), 0),
      1,
    );
    assert.equal(dials?.bucketCounts.length, (dials?.explicitBounds.length ?? 0) + 1);
  }, 20_000);
  penstock.child.kill('SIGTERM');
  assert.equal(await penstock.exited, 0);
  await eventually(() => assert.ok(sent.records().some(({ body }) => body.stringValue === 'draining')));
  assert.deepEqual(
    new Set(sent.headers.map((it) => JSON.stringify(it))),
    new Set([
      JSON.stringify(['/v1/logs', 'secret', 'application/json']),
      JSON.stringify(['/v1/metrics', 'secret', 'application/json']),
    ]),
  );
});

test('a collector that cannot be reached costs no connection, and is reported once', async (t) => {
  const { port } = await echoUpstream(t);
  const endpoint = `http://127.0.0.1:${await closedPort()}`;
  // The exporters give up after this, of their own 10 s.
  const env = { OTEL_EXPORTER_OTLP_TIMEOUT: '500' };
  const penstock = await startPenstock(t, configOf(port, { endpoint, interval: '100ms' }), { env });
  const warned = () => penstock.log().filter(({ msg }) => msg === 'metrics cannot be sent by OTLP').length;
  await eventually(() => assert.equal(warned(), 1), 30_000);
  assert.equal(String((await exchange(penstock.port('one'), 'ping')).received), 'ping');
  penstock.child.kill('SIGTERM');
  assert.equal(await penstock.exited, 0);
  assert.equal(warned(), 1);
});

test('a package that is not installed is named, and other errors are what they are', async () => {
  const missing = Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' });
  await assert.rejects(
    importOptional('@opentelemetry/sdk-logs', () => Promise.reject(missing)),
    {
      message:
        'otlp needs the package @opentelemetry/sdk-logs: install it beside penstock (docs/operations.md, OpenTelemetry)',
    },
  );
  const other = new SyntaxError('broken');
  await assert.rejects(
    importOptional('x', () => Promise.reject(other)),
    other,
  );
});
