/**
 * An established connection ends with the side that ended it and with the reason: nothing said for too long, nothing after
 * one side had ended, a reset, a proxy that stops. A good end has no code. What ends one side ends the other.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

/** An upstream that echoes one byte and then does this, behind a listener for plain clients. */
async function plain(
  t: TestContext,
  act: (upstream: Socket) => void = () => {},
  timeouts: object = {},
): Promise<RunningProxy> {
  const { port } = await tcpUpstream(t, (socket) => {
    socket.once('data', (chunk) => socket.write(chunk, () => act(socket)));
  });
  return startProxy(t, {
    listeners: { plain: { timeouts, routes: [{ tls: 'off', upstream: 'up' }] } },
    upstreams: { up: { endpoints: [`127.0.0.1:${port}`] } },
  });
}

/** A client that has its first byte back. */
async function established(t: TestContext, proxy: RunningProxy) {
  const client = rawClient(t, proxy.port());
  client.socket.write('x');
  await client.until(1);
  return client;
}

/** What the log says of its end. */
async function endOf(proxy: RunningProxy): Promise<unknown[]> {
  const { phase, side, code } = await proxy.connectionLine();
  assert.equal(phase, 'splice');
  return [side, code];
}

test('ended by both: no code, and the side that ended first', async (t) => {
  const proxy = await plain(t, (upstream) => upstream.once('end', () => upstream.end()));
  const client = await established(t, proxy);
  client.socket.end();
  assert.equal((await client.closed).ended, true);
  assert.deepEqual(await endOf(proxy), ['client', undefined]);
});

test('silence of both: both are reset', async (t) => {
  let upstreamError: Promise<unknown> | undefined;
  const proxy = await plain(
    t,
    (upstream) => {
      upstreamError = once(upstream, 'error');
    },
    { idle: '50ms' },
  );
  const client = await established(t, proxy);
  assert.equal((await client.closed).error, 'ECONNRESET');
  assert.match(String(await upstreamError), /ECONNRESET/);
  assert.deepEqual(await endOf(proxy), ['proxy', 'ERR_IDLE_TIMEOUT']);
});

test('silence after one side ended', async (t) => {
  const proxy = await plain(t, () => {}, { half_close: '50ms' });
  const client = await established(t, proxy);
  client.socket.end();
  assert.equal((await client.closed).error, 'ECONNRESET');
  assert.deepEqual(await endOf(proxy), ['proxy', 'ERR_HALF_CLOSE_TIMEOUT']);
});

test('a reset of the client is one of the upstream, too', async (t) => {
  let upstreamError: Promise<unknown> | undefined;
  const proxy = await plain(t, (upstream) => {
    upstreamError = once(upstream, 'error');
  });
  const client = await established(t, proxy);
  client.socket.resetAndDestroy();
  assert.match(String(await upstreamError), /ECONNRESET/);
  assert.deepEqual(await endOf(proxy), ['client', 'ERR_CLIENT_RESET']);
});

test('a reset of the upstream is one of the client, too', async (t) => {
  // Not right behind its byte, where older runtimes take a reset for an end: see docs/security.md.
  const proxy = await plain(t, (upstream) => upstream.once('data', () => upstream.resetAndDestroy()));
  const client = await established(t, proxy);
  client.socket.write('x');
  assert.equal((await client.closed).error, 'ECONNRESET');
  assert.deepEqual(await endOf(proxy), ['upstream', 'ERR_UPSTREAM_RESET']);
});

test('a proxy that stops', async (t) => {
  const proxy = await plain(t);
  const client = await established(t, proxy);
  assert.equal(await proxy.drain(50), 1);
  assert.equal((await client.closed).error, 'ECONNRESET');
  assert.deepEqual(await endOf(proxy), ['proxy', 'ERR_SHUTDOWN']);
});
