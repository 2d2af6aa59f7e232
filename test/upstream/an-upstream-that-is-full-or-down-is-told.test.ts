/**
 * An upstream that has all the connections it may, whose queue is full or moves too slowly, or that is down, is told by its
 * code; who waits in the queue is served when a connection ends.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { type RawClient, rawClient } from '../support/raw-client.ts';
import { closedPort, tcpUpstream } from '../support/upstream.ts';

/** Plain clients before this upstream. */
function proxyTo(t: TestContext, upstream: object): Promise<RunningProxy> {
  return startProxy(t, {
    listeners: { plain: { routes: [{ tls: 'off', upstream: 'up' }] } },
    upstreams: { up: upstream },
  });
}

async function echo(t: TestContext): Promise<string[]> {
  const { port } = await tcpUpstream(t, (socket) => socket.pipe(socket));
  return [`127.0.0.1:${port}`];
}

/** A client that has sent its byte. */
function knock(t: TestContext, proxy: RunningProxy): RawClient {
  const client = rawClient(t, proxy.port());
  client.socket.write('x');
  return client;
}

async function endsWith(proxy: RunningProxy, code: string, side = 'proxy'): Promise<void> {
  const line = await proxy.connectionLine((it) => it['code'] === code);
  assert.deepEqual([line['phase'], line['side']], ['connect', side]);
}

test('full, and no queue', async (t) => {
  const proxy = await proxyTo(t, { endpoints: await echo(t), limits: { connections: 1 } });
  const first = knock(t, proxy);
  await first.until(1);
  assert.equal((await knock(t, proxy).closed).received.length, 0);
  await endsWith(proxy, 'ERR_UPSTREAM_LIMIT');
  first.socket.end();
  await first.closed;
  await eventually(async () => void (await knock(t, proxy).until(1)));
});

test('full, with a queue that is full, too', async (t) => {
  const limits = { connections: 1, queue: { max: 1, timeout: 'off' } };
  const proxy = await proxyTo(t, { endpoints: await echo(t), limits });
  const first = knock(t, proxy);
  await first.until(1);
  const [second, third] = [knock(t, proxy), knock(t, proxy)];
  // Whichever comes first waits, and the other is refused.
  const refused = await Promise.race([second, third].map((it) => it.closed.then(() => it)));
  await endsWith(proxy, 'ERR_UPSTREAM_QUEUE_FULL');
  first.socket.end();
  await (refused === second ? third : second).until(1);
});

test('full, with a queue that does not move', async (t) => {
  const limits = { connections: 1, queue: { timeout: '50ms' } };
  const proxy = await proxyTo(t, { endpoints: await echo(t), limits });
  await knock(t, proxy).until(1);
  await knock(t, proxy).closed;
  await endsWith(proxy, 'ERR_UPSTREAM_QUEUE_TIMEOUT');
});

test('down', async (t) => {
  const endpoints = [`127.0.0.1:${await closedPort()}`];
  const proxy = await proxyTo(t, { endpoints, outlier: { failures: 1, eject_for: '1h' } });
  await knock(t, proxy).closed;
  await endsWith(proxy, 'ERR_UPSTREAM_CONNECT', 'upstream');
  await knock(t, proxy).closed;
  await endsWith(proxy, 'ERR_UPSTREAM_DOWN', 'upstream');
});
