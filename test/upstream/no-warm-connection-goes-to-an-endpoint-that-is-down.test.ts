/** An endpoint that is down or ejected has no warm connections: those that it had end, and none is made until it is up again. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { unbounded } from '../../src/process/descriptors.ts';
import { createUpstreamRegistry } from '../../src/upstream/registry.ts';
import { createResolver } from '../../src/upstream/resolve.ts';
import { createUpstream } from '../../src/upstream/upstream.ts';
import { WarmPool } from '../../src/upstream/warm/warm-pool.ts';
import { upstreamConfig } from '../support/upstream.ts';
import { recorder } from '../support/warm.ts';

describe('an endpoint', () => {
  it('that the health checks find down', async (t) => {
    const { upstream, registry, pool, server } = await kept(t);
    await server.opened(2);
    const [endpoint] = await upstream.listed(new AbortController().signal);
    const report = {
      upstream: 'app',
      endpoint: `127.0.0.1:${server.port}`,
      forMs: 0,
      reason: 'x',
      checkMs: 1,
    };
    registry.applyHealth([{ ...report, up: false }]);
    assert.equal(pool.take(endpoint!), undefined); // there is one
    await server.opened(0);
    assert.equal(server.accepted.length, 2);
    registry.applyHealth([{ ...report, up: true }]);
    await server.opened(2);
    assert.ok(pool.take(endpoint!));
  });

  it('that is ejected', async (t) => {
    const { upstream, registry, pool, server } = await kept(t);
    await server.opened(2);
    const [endpoint] = await upstream.listed(new AbortController().signal);
    registry.eject({ upstream: 'app', endpoint: endpoint!.label, forMs: 3_600_000, reason: 'x' });
    await server.opened(0);
    assert.equal(pool.take(endpoint!), undefined);
    assert.equal(server.accepted.length, 2);
  });
});

async function kept(t: Parameters<typeof recorder>[0]) {
  const server = await recorder(t);
  const registry = createUpstreamRegistry();
  const config = upstreamConfig({ endpoints: [`127.0.0.1:${server.port}`], warm: { connections: 2 } });
  const upstream = createUpstream('app', config, createResolver(), registry.of('app'));
  const pool = new WarmPool({
    upstream,
    settings: config.warm!, // as above
    descriptors: unbounded,
    logger: { debug() {}, info() {} },
    counts: { taken: 0, missed: 0, closed: 0, expired: 0 },
    begin: (stream) => ({ stream }),
    isForSplice: true,
  });
  pool.open();
  t.after(() => pool.close());
  return { server, registry, upstream, pool };
}
