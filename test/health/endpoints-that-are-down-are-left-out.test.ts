/**
 * Nobody gets an endpoint that is down or ejected while another is up, of whatever priority; if none is up, `all_down`
 * decides. Failed dials in a row eject an endpoint, for the faults of the endpoint alone and for as long as configured; so
 * does another process. What is known of endpoints outlives a configuration, for as long as somebody needs it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ProxyError } from '../../src/errors.ts';
import { firstVerdict, nextVerdict } from '../../src/health/verdict.ts';
import { dial } from '../../src/upstream/dial.ts';
import type { EndpointReport } from '../../src/upstream/endpoint-state.ts';
import { createUpstreamRegistry, type RegistryOptions } from '../../src/upstream/registry.ts';
import { createResolver } from '../../src/upstream/resolve.ts';
import { createUpstream } from '../../src/upstream/upstream.ts';
import { eventually } from '../support/eventually.ts';
import { mortalUpstream } from '../support/mortal.ts';
import { clientOf, closedPort, upstreamConfig } from '../support/upstream.ts';

const never = new AbortController().signal;

function down(endpoint: string, reason = 'it is broken'): EndpointReport {
  return { upstream: 'orders', endpoint, up: false, forMs: 0, reason, checkMs: undefined };
}

function setUp(config: object, options?: RegistryOptions) {
  const registry = createUpstreamRegistry(options);
  const build = (next: object) =>
    createUpstream('orders', upstreamConfig(next), createResolver(), registry.of('orders'));
  const stateOf = (endpoint: string) => registry.endpoints().find((it) => it.endpoint === endpoint);
  return { registry, build, stateOf, upstream: build(config) };
}

const request = { client: clientOf(), signal: never };
const plain = { ...request, prepare: async () => undefined };

test('the balancer sees those that are up, of the best priority that has one', async () => {
  const endpoint = fc.record({ isUp: fc.boolean(), priority: fc.integer({ min: 0, max: 2 }) });
  const kinds = fc.constantFrom('round_robin', 'least_connections', 'random_two', 'hash');
  await fc.assert(
    fc.asyncProperty(
      fc.array(endpoint, { minLength: 1, maxLength: 6 }),
      kinds,
      fc.constantFrom('fail', 'try_anyway'),
      async (list, balance, all_down) => {
        const all = list.map((it, index) => ({ ...it, address: `10.0.0.${index}:5432` }));
        const endpoints = all.map(({ address, priority }) => ({ address, priority }));
        const { registry, upstream } = setUp({ endpoints, balance, all_down });
        registry.applyHealth(all.filter(({ isUp }) => !isUp).map(({ address }) => down(address)));
        const up = all.filter(({ isUp }) => isUp);
        if (up.length === 0 && all_down === 'fail') {
          await assert.rejects(async () => upstream.pick(clientOf(), [], never), {
            code: 'ERR_UPSTREAM_DOWN',
          });
          return;
        }
        const usable = up.length > 0 ? up : all;
        const best = Math.min(...usable.map(({ priority }) => priority));
        const wanted = usable.filter(({ priority }) => priority === best).map(({ address }) => address);
        for (let turn = 0; turn < 4; turn++) {
          const picked = await upstream.pick(clientOf(), [], never);
          assert.ok(picked && wanted.includes(picked.label));
        }
      },
    ),
  );
});

test('a dial goes on to no endpoint that is known to be down', async () => {
  const [one, two] = [`127.0.0.1:${await closedPort()}`, '127.0.0.9:1'];
  const { registry, upstream } = setUp({ endpoints: [one, two] });
  registry.applyHealth([down(two)]);
  await assert.rejects(dial(upstream, plain), {
    code: 'ERR_UPSTREAM_CONNECT',
    message: `${one} refused the connection (ECONNREFUSED)`,
  });
});

test('of many that are down, the message names a few', async () => {
  const endpoints = Array.from({ length: 50 }, (_, index) => `10.0.0.${index}:1`);
  const { registry, upstream } = setUp({ endpoints });
  registry.applyHealth(endpoints.map((endpoint) => down(endpoint, 'no')));
  await assert.rejects(async () => upstream.pick(clientOf(), [], never), {
    message:
      'no endpoint of upstream orders is up (10.0.0.0:1: no; 10.0.0.1:1: no; 10.0.0.2:1: no; 10.0.0.3:1: no; and 46 more)',
  });
});

test('outlier: failed dials in a row eject, a good one between starts the count anew', async (t) => {
  const server = await mortalUpstream(t);
  const ejected: unknown[] = [];
  const outlier = { failures: 3, eject_for: '1h' };
  const { upstream, stateOf } = setUp(
    { endpoints: [server.address], outlier },
    { onEjected: (ejection) => ejected.push(ejection) },
  );
  const fail = () => assert.rejects(dial(upstream, plain), { code: 'ERR_UPSTREAM_CONNECT' });
  server.die();
  await fail();
  await fail();
  await server.comeBack();
  (await dial(upstream, plain)).raw.destroy();
  server.die();
  await fail();
  await fail();
  assert.equal(stateOf(server.address)?.state, 'up');
  await fail();
  assert.equal(stateOf(server.address)?.state, 'ejected');
  const reason = `${server.address} refused the connection (ECONNREFUSED)`;
  const ejection = { upstream: 'orders', endpoint: server.address, forMs: 60 * 60 * 1000, reason };
  assert.deepEqual(ejected, [ejection]);
  await assert.rejects(dial(upstream, plain), {
    code: 'ERR_UPSTREAM_DOWN',
    message: `no endpoint of upstream orders is up (${server.address}: ${reason})`,
  });
});

test('outlier: a rest ends by itself', async (t) => {
  const server = await mortalUpstream(t);
  const { upstream } = setUp({ endpoints: [server.address], outlier: { failures: 1, eject_for: '30ms' } });
  server.die();
  await assert.rejects(dial(upstream, plain), { code: 'ERR_UPSTREAM_CONNECT' });
  await assert.rejects(dial(upstream, plain), { code: 'ERR_UPSTREAM_DOWN' });
  await server.comeBack();
  await eventually(async () => {
    (await dial(upstream, plain)).raw.destroy();
  });
});

test('outlier: the faults of clients and of the proxy itself are not the endpoint’s', async (t) => {
  const server = await mortalUpstream(t);
  const { upstream, stateOf } = setUp({
    endpoints: [server.address],
    outlier: { failures: 1, eject_for: '1h' },
  });
  for (const side of ['client', 'proxy'] as const) {
    const prepare = () => Promise.reject(new ProxyError('ERR_UPSTREAM_TLS', { side, message: 'no name' }));
    await assert.rejects(dial(upstream, { ...request, prepare }), { side });
  }
  const gone = new AbortController();
  const prepare = async () => gone.abort(new Error('the client has gone'));
  await assert.rejects(
    dial(upstream, {
      ...request,
      signal: gone.signal,
      prepare: () => prepare().then(() => new Promise(() => {})),
    }),
    /the client has gone/,
  );
  assert.equal(stateOf(server.address)?.state, 'up');
});

test('what another process ejects rests here too; checks that find it down have the last word', async () => {
  const { registry, build, stateOf } = setUp({ endpoints: ['10.0.0.1:1'] });
  const eject = (upstream: string, endpoint: string) =>
    registry.eject({ upstream, endpoint, forMs: 60_000, reason: 'failed elsewhere' });
  eject('orders', '10.0.0.1:1');
  eject('orders', '10.0.0.2:1');
  eject('others', '10.0.0.1:1');
  assert.equal(stateOf('10.0.0.1:1')?.state, 'ejected');
  registry.applyHealth([]);
  assert.equal(stateOf('10.0.0.1:1')?.state, 'ejected', 'a check that passes does not end a rest');
  registry.applyHealth([down('10.0.0.1:1')]);
  assert.equal(stateOf('10.0.0.1:1')?.state, 'down');
  eject('orders', '10.0.0.1:1');
  assert.equal(stateOf('10.0.0.1:1')?.state, 'down');
  registry.applyHealth([]);
  assert.equal(stateOf('10.0.0.1:1')?.state, 'returned');

  // One that comes to be known only now.
  const later = build({ endpoints: ['10.0.0.2:1', '10.0.0.3:1'] });
  const rests = stateOf('10.0.0.2:1');
  assert.equal(rests?.state, 'ejected');
  assert.ok(rests.restMs && rests.restMs > 0 && rests.restMs <= 60_000);
  assert.equal((await later.pick(clientOf(), [], never))?.label, '10.0.0.3:1');
});

test('a new configuration finds counts and health again, and a report that came before it', async () => {
  const { registry, build, stateOf, upstream } = setUp({ endpoints: ['10.0.0.1:1', '10.0.0.2:1'] });
  registry.applyHealth([down('10.0.0.2:1'), down('10.0.0.3:1')]);
  const held = await upstream.pick(clientOf(), [], never);
  assert.equal(held?.label, '10.0.0.1:1');
  const next = build({ endpoints: ['10.0.0.3:1', '10.0.0.2:1', '10.0.0.1:1'] });
  const picked = await next.pick(clientOf(), [], never);
  assert.equal(picked?.label, '10.0.0.1:1');
  assert.equal(picked?.state.active, 2);
  assert.equal(stateOf('10.0.0.1:1')?.active, 2);
  assert.equal(stateOf('10.0.0.3:1')?.state, 'down');
});

test('one is down after so many failures in a row, and up after so many good checks in a row', () => {
  const limits = {
    healthy_after: fc.integer({ min: 1, max: 4 }),
    unhealthy_after: fc.integer({ min: 1, max: 4 }),
  };
  fc.assert(
    fc.property(fc.record(limits), fc.array(fc.boolean(), { maxLength: 40 }), (config, outcomes) => {
      let verdict = firstVerdict;
      for (const [index, ok] of outcomes.entries()) {
        const before = verdict.kind;
        verdict = nextVerdict(
          verdict,
          ok ? { ok, ms: 1 } : { ok, error: new Error(`failure ${index}`) },
          config,
          index,
        );
        const limit = before === 'up' ? config.unhealthy_after : config.healthy_after;
        const changed = Math.max(verdict.since, -1);
        const last = outcomes.slice(0, index + 1);
        if (verdict.kind !== before) {
          assert.equal(changed, index);
          assert.ok(last.slice(-limit).every((it) => it === (before === 'down')));
        } else if (last.length >= limit) {
          // As many as are needed, all since the last change, would have changed it.
          const recent = outcomes.slice(Math.max(changed + 1, index + 1 - limit), index + 1);
          assert.ok(recent.length < limit || recent.some((it) => it === (before === 'up')));
        }
        if (!ok) assert.equal(verdict.reason, `failure ${index}`);
      }
    }),
  );
});

test('a check that failed on our own side changes nothing', () => {
  const error = new ProxyError('ERR_DESCRIPTORS_EXHAUSTED', { side: 'proxy', message: 'none left' });
  const limits = { healthy_after: 1, unhealthy_after: 1 };
  assert.equal(nextVerdict(firstVerdict, { ok: false, error }, limits, 1), firstVerdict);
});
