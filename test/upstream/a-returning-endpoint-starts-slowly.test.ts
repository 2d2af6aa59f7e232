/**
 * With `slow_start` an endpoint that comes back has a share that grows evenly from next to nothing to its weight, whichever
 * way is balanced; alone it serves everyone all the same. One that was never away, or without `slow_start`, has its weight.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { EndpointReport } from '../../src/upstream/endpoint-state.ts';
import { createUpstreamRegistry } from '../../src/upstream/registry.ts';
import { createResolver } from '../../src/upstream/resolve.ts';
import { createUpstream, type Upstream } from '../../src/upstream/upstream.ts';
import { clientOf, upstreamConfig } from '../support/upstream.ts';

const hour = 60 * 60 * 1000;
const never = new AbortController().signal;
const steady = '10.0.0.1:5432';
const returned = '10.0.0.2:5432';

function report(endpoint: string, report: Partial<EndpointReport>): EndpointReport {
  const good = { up: true, forMs: Number.POSITIVE_INFINITY, reason: undefined, checkMs: 1 };
  return { upstream: 'orders', endpoint, ...good, ...report };
}

/** An upstream whose second endpoint came back this long ago, with a slow start of an hour. */
function upstreamOf(
  balance: string,
  forMs: number,
  { weights = [1, 1], slow_start = '1h' }: { weights?: readonly number[]; slow_start?: string } = {},
): Upstream {
  const registry = createUpstreamRegistry();
  registry.applyHealth([report(steady, {}), report(returned, { forMs })]);
  const endpoints = [steady, returned].map((address, index) => ({ address, weight: weights[index] }));
  const config = upstreamConfig({ endpoints, balance, slow_start });
  return createUpstream('orders', config, createResolver(), registry.of('orders'));
}

/** How many of these clients get the endpoint that came back; their connections stay. */
async function taken(upstream: Upstream, clients: number): Promise<number> {
  let count = 0;
  for (let client = 0; client < clients; client++) {
    const clientAddress = `10.1.${client >> 8}.${client & 255}`;
    const endpoint = await upstream.pick(clientOf({ clientAddress }), [], never);
    if (endpoint?.label === returned) count += 1;
  }
  return count;
}

for (const balance of ['round_robin', 'least_connections']) {
  test(`${balance}: exactly the part of its weight that its time has brought`, async () => {
    const weight = fc.integer({ min: 1, max: 8 });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 2, max: 100 }), weight, weight, async (percent, one, other) => {
        const upstream = upstreamOf(balance, (percent / 100) * hour, { weights: [one, other] });
        const share = (other * percent) / 100;
        const expected = (400 * share) / (one + share);
        const count = await taken(upstream, 400);
        assert.ok(Math.abs(count - expected) <= 2, `${count} in place of ${expected}`);
      }),
      { numRuns: 30 },
    );
  });
}

for (const balance of ['random_two', 'hash']) {
  test(`${balance}: about the part of its weight that its time has brought`, async () => {
    for (const part of [0.1, 0.5, 0.9]) {
      const count = await taken(upstreamOf(balance, part * hour), 4000);
      const expected = (4000 * part) / (1 + part);
      assert.ok(Math.abs(count - expected) < 130, `${count} in place of ${expected}`);
    }
  });
}

test('hash: while it grows, clients only move to it', async () => {
  const early = upstreamOf('hash', 0.3 * hour);
  const later = upstreamOf('hash', 0.6 * hour);
  for (let client = 0; client < 1000; client++) {
    const who = clientOf({ clientAddress: `10.1.${client >> 8}.${client & 255}` });
    const [before, after] = [await early.pick(who, [], never), await later.pick(who, [], never)];
    if (before?.label === returned) assert.equal(after?.label, returned);
  }
});

test('the first moment is not nothing, and the last is everything', async () => {
  assert.equal(await taken(upstreamOf('round_robin', 0), 101), 1);
  assert.equal(await taken(upstreamOf('round_robin', hour), 100), 50);
  assert.equal(await taken(upstreamOf('round_robin', 10 * hour), 100), 50);
  assert.equal(await taken(upstreamOf('round_robin', Number.POSITIVE_INFINITY), 100), 50, 'never away');
  assert.equal(await taken(upstreamOf('round_robin', 0, { slow_start: 'off' }), 100), 50);
});

test('alone it serves everyone', async () => {
  const registry = createUpstreamRegistry();
  registry.applyHealth([report(returned, { forMs: 0 })]);
  const config = upstreamConfig({ endpoints: [returned], slow_start: '1h' });
  const upstream = createUpstream('orders', config, createResolver(), registry.of('orders'));
  assert.equal(await taken(upstream, 10), 10);
});

test('it starts when it is up again, after a check or a rest', async () => {
  const registry = createUpstreamRegistry();
  const config = upstreamConfig({ endpoints: [steady, returned], slow_start: '1h' });
  const upstream = createUpstream('orders', config, createResolver(), registry.of('orders'));
  assert.equal(await taken(upstream, 10), 5);
  registry.applyHealth([report(returned, { up: false, forMs: 0 })]);
  assert.equal(await taken(upstream, 10), 0);
  registry.applyHealth([report(returned, { forMs: 0 })]);
  assert.ok((await taken(upstream, 100)) <= 2);

  const other = createUpstreamRegistry();
  const rested = createUpstream('orders', config, createResolver(), other.of('orders'));
  other.eject({ upstream: 'orders', endpoint: returned, forMs: 0, reason: 'failed elsewhere' });
  assert.ok((await taken(rested, 100)) <= 2);
});
