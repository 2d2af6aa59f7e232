/**
 * A configuration may have thousands of upstreams and TLS policies, most of them idle: what only some of them
 * need is made when it is needed. (A cache for 10,000 entries takes its memory when it is made.)
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadText, sharedText } from '../../src/config/load.ts';
import { createUpstreamRegistry } from '../../src/upstream/registry.ts';
import { createResolver } from '../../src/upstream/resolve.ts';
import { createUpstream } from '../../src/upstream/upstream.ts';

test('two thousand upstreams take less than 10 KB each', async () => {
  const text = JSON.stringify({
    listeners: { main: { bind: '127.0.0.1:0', routes: [{ tls: 'passthrough', upstream: 'u' }] } },
    upstreams: { u: { endpoints: ['127.0.0.1:7'] } },
  });
  const { config } = await loadText({
    text: sharedText(Buffer.from(text)),
    name: 'penstock.yaml',
    directory: '/',
  });
  const settings = config.upstreams['u'];
  assert.ok(settings);
  const [registry, resolver] = [createUpstreamRegistry(), createResolver()];
  const inUse = () => process.memoryUsage().heapUsed + process.memoryUsage().external;
  const before = inUse();
  const made = Array.from({ length: 2000 }, (_, at) =>
    createUpstream(`u${at}`, settings, resolver, registry.of(`u${at}`)),
  );
  const each = (inUse() - before) / made.length;
  assert.ok(each < 10_000, `${Math.round(each)} bytes each`);
});
