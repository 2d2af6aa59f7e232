/**
 * A dial goes on to other endpoints, never the same one twice and no more than configured; each attempt (name, TCP and
 * preparation together) has its own time; whatever fails, no socket and no count is left behind, and the error says what
 * the last endpoint did and how many were tried. With `dial: early` the client's own time is not the upstream's.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { ProxyError, systemCode } from '../../src/errors.ts';
import type { Stream } from '../../src/net/stream.ts';
import { type DialRequest, dial } from '../../src/upstream/dial.ts';
import type { Endpoint } from '../../src/upstream/endpoint.ts';
import type { Lookup } from '../../src/upstream/look-up.ts';
import { createResolver } from '../../src/upstream/resolve.ts';
import { createUpstream } from '../../src/upstream/upstream.ts';
import { eventually } from '../support/eventually.ts';
import { blackHole, clientOf, closedPort, tcpUpstream, upstreamConfig } from '../support/upstream.ts';

function upstreamOf(config: object, lookup?: Lookup) {
  return createUpstream('orders', upstreamConfig(config), createResolver(lookup && { lookup }));
}

function request(overrides: Partial<DialRequest<Socket>> = {}): DialRequest<Socket> {
  return {
    client: clientOf(),
    prepare: async ({ raw }) => raw,
    signal: new AbortController().signal,
    ...overrides,
  };
}

/** A server that counts its open connections. */
async function counting(t: TestContext) {
  const seen = { accepted: 0, open: 0 };
  const { port } = await tcpUpstream(t, (socket) => {
    seen.accepted++;
    seen.open++;
    socket.resume().on('close', () => seen.open--);
    socket.on('end', () => socket.end());
  });
  return { seen, port };
}

test('a refused endpoint is followed by the next, and counts are kept until release', async (t) => {
  const { port } = await counting(t);
  const down = await closedPort();
  const upstream = upstreamOf({ endpoints: [`127.0.0.1:${down}`, `127.0.0.1:${port}`] });
  const failed: [Endpoint, unknown][] = [];
  const onAttemptFailed = (endpoint: Endpoint, error: unknown) => failed.push([endpoint, error]);
  const dialled = await dial(upstream, request({ onAttemptFailed }));
  const { endpoint, prepared, raw, tried } = dialled;
  assert.equal(endpoint.label, `127.0.0.1:${port}`);
  assert.equal(prepared, raw);
  assert.equal(tried, 2);
  assert.equal(failed.length, 1);
  assert.equal(failed[0]?.[0].label, `127.0.0.1:${down}`);
  assert.equal(failed[0]?.[0].state.active, 0);
  assert.equal(systemCode(failed[0]?.[1]), 'ERR_UPSTREAM_CONNECT');
  assert.equal(endpoint.state.active, 1);
  dialled.release();
  dialled.release();
  assert.equal(endpoint.state.active, 0);
  raw.destroy();
});

test('all endpoints down: each is tried once, and the last failure says how many there were', async () => {
  const ports = [await closedPort(), await closedPort(), await closedPort()];
  const upstream = upstreamOf({ endpoints: ports.map((port) => `127.0.0.1:${port}`), retries: 20 });
  await assert.rejects(dial(upstream, request()), {
    code: 'ERR_UPSTREAM_CONNECT',
    side: 'upstream',
    message: `127.0.0.1:${ports[2]} refused the connection (ECONNREFUSED); 3 endpoints were tried`,
  });
});

test('no more than `retries` further endpoints are tried, and a lone endpoint once', async () => {
  const ports = [await closedPort(), await closedPort(), await closedPort()];
  const attempts = async (config: object) => {
    let count = 0;
    const counted = request({ onAttemptFailed: () => count++ });
    await assert.rejects(dial(upstreamOf(config), counted), { code: 'ERR_UPSTREAM_CONNECT' });
    return count;
  };
  const endpoints = ports.map((port) => `127.0.0.1:${port}`);
  assert.equal(await attempts({ endpoints, retries: 0 }), 1);
  assert.equal(await attempts({ endpoints, retries: 1 }), 2);
  assert.equal(await attempts({ endpoints: endpoints.slice(0, 1), retries: 5 }), 1);
});

test('endpoints of a higher priority number are the last resort', async (t) => {
  const { port } = await counting(t);
  const down = await closedPort();
  const upstream = upstreamOf({
    endpoints: [{ address: `127.0.0.1:${port}`, priority: 1 }, `127.0.0.1:${down}`],
  });
  const { tried, raw } = await dial(upstream, request());
  assert.equal(tried, 2);
  raw.destroy();
});

test('an endpoint that does not answer costs its time-out, then the next has its own', async (t) => {
  const { port } = await counting(t);
  const silent = await blackHole(t, '127.0.0.2');
  const upstream = upstreamOf({
    endpoints: [`127.0.0.2:${silent}`, { address: `127.0.0.1:${port}`, priority: 1 }],
    timeouts: { connect: '80ms' },
  });
  const failures: unknown[] = [];
  const { raw } = await dial(upstream, request({ onAttemptFailed: (_, error) => failures.push(error) }));
  raw.destroy();
  assert.deepEqual(
    failures.map((error) => error instanceof ProxyError && [error.code, error.message, error.hint]),
    [
      [
        'ERR_UPSTREAM_CONNECT_TIMEOUT',
        `127.0.0.2:${silent} did not answer within 80 ms`,
        'check the address and the firewall, or raise upstreams.orders.timeouts.connect',
      ],
    ],
  );
});

test('the time for the name counts too', async () => {
  const upstream = upstreamOf({ endpoints: ['db.test:5432'], timeouts: { connect: '50ms' } }, () => {});
  await assert.rejects(dial(upstream, request()), {
    code: 'ERR_UPSTREAM_CONNECT_TIMEOUT',
    message: 'db.test:5432 did not resolve within 50 ms',
  });
});

test('a preparation that fails or never ends gives its socket up, and the next endpoint is tried', async (t) => {
  const [one, two, three] = [await counting(t), await counting(t), await counting(t)];
  const upstream = upstreamOf({
    endpoints: [one, two, three].map(({ port }, priority) => ({ address: `127.0.0.1:${port}`, priority })),
    timeouts: { connect: '80ms' },
  });
  const refused = new ProxyError('ERR_UPSTREAM_STARTTLS_REFUSED', {
    side: 'upstream',
    message: 'no TLS there',
  });
  const failures: unknown[] = [];
  const { endpoint, raw } = await dial(
    upstream,
    request({
      prepare: async ({ raw }, { target }) => {
        if ('port' in target && target.port === one.port) throw refused;
        if ('port' in target && target.port === two.port) return new Promise<never>(() => {});
        return raw;
      },
      onAttemptFailed: (_, error) => failures.push(error),
    }),
  );
  assert.equal(endpoint.label, `127.0.0.1:${three.port}`);
  assert.equal(failures[0], refused);
  assert.match(String(failures[1]), /was not ready for payload within 80 ms/);
  await eventually(() => assert.deepEqual([one.seen.open, two.seen.open, three.seen.open], [0, 0, 1]));
  raw.destroy();
});

test('a client that goes ends the dial with its reason: no socket, no count and no further attempt', async (t) => {
  const { seen, port } = await counting(t);
  const upstream = upstreamOf({ endpoints: [`127.0.0.1:${port}`, `127.0.0.1:${await closedPort()}`] });
  const controller = new AbortController();
  let picked: Endpoint | undefined;
  const dialling = dial(
    upstream,
    request({
      signal: controller.signal,
      prepare: (_, endpoint) => {
        picked = endpoint;
        controller.abort(new Error('the client has gone'));
        return new Promise(() => {});
      },
      onAttemptFailed: () => assert.fail('a client that goes is no failure of the endpoint'),
    }),
  );
  await assert.rejects(dialling, /the client has gone/);
  await eventually(() => assert.equal(seen.accepted - seen.open, 1));
  assert.equal(picked?.state.active, 0);
  await assert.rejects(dial(upstream, request({ signal: controller.signal })), /the client has gone/);
});

test('dial early: TCP is there before the client is ready, whose time is not counted', async (t) => {
  const { seen, port } = await counting(t);
  const upstream = upstreamOf({ endpoints: [`127.0.0.1:${port}`], timeouts: { connect: '60ms' } });
  let clientIsReady = () => {};
  const clientReady = new Promise<void>((resolve) => {
    clientIsReady = resolve;
  });
  let prepared = false;
  const prepare = async ({ raw }: Stream) => {
    prepared = true;
    return raw;
  };
  const dialling = dial(upstream, request({ clientReady, prepare }));
  await eventually(() => assert.equal(seen.open, 1));
  // Longer than the time-out, as a dial that is timed out shows.
  const slow = upstreamOf({ endpoints: ['db.test:5432'], timeouts: { connect: '90ms' } }, () => {});
  await assert.rejects(dial(slow, request()), { code: 'ERR_UPSTREAM_CONNECT_TIMEOUT' });
  assert.equal(prepared, false);
  clientIsReady();
  const { raw } = await dialling;
  assert.equal(prepared, true);
  raw.destroy();
});

test('dial early: an endpoint that leaves meanwhile is replaced by the next', async (t) => {
  const leaving = await tcpUpstream(t, (socket) => socket.end());
  const { port } = await counting(t);
  const upstream = upstreamOf({
    endpoints: [`127.0.0.1:${leaving.port}`, { address: `127.0.0.1:${port}`, priority: 1 }],
  });
  // What a later connection has seen, the dialled one has seen before.
  const left = once(leaving.server, 'connection').then(async ([socket]) => once(socket as Socket, 'finish'));
  const clientReady = left.then(() => once(connect(leaving.port, '127.0.0.1').resume(), 'close'));
  const { endpoint, tried, raw } = await dial(upstream, request({ clientReady }));
  assert.equal(endpoint.label, `127.0.0.1:${port}`);
  assert.equal(tried, 2);
  raw.destroy();
});

test('a template without a server name fails before any dial', async () => {
  const upstream = upstreamOf({ endpoints: ['{sni}:5432'], allow_addresses: ['10.0.0.0/8'] });
  await assert.rejects(dial(upstream, request()), { code: 'ERR_UPSTREAM_TEMPLATE', side: 'client' });
});

test('each_address: a dead address of a name is followed by a live one', async (t) => {
  const { port } = await counting(t);
  const lookup: Lookup = (_host, _options, callback) =>
    setImmediate(() => callback(null, [{ address: '127.0.0.3' }, { address: '127.0.0.1' }]));
  const upstream = upstreamOf({ endpoints: [`db.test:${port}`], resolve: { each_address: true } }, lookup);
  for (let turn = 0; turn < 3; turn++) {
    const dialled = await dial(upstream, request());
    const { endpoint, raw } = dialled;
    assert.equal(endpoint.label, `127.0.0.1:${port}`);
    assert.equal(endpoint.host, 'db.test');
    assert.equal(endpoint.state.active, 1);
    raw.destroy();
    dialled.release();
  }
});
