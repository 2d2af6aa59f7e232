/**
 * A supervisor that does not answer, stopped here by a signal, keeps no client waiting: workers count by themselves, and by its
 * counts again when it is back. Where the process itself stood still, its clients are not blamed.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { capturedHello } from '../support/client-hellos.ts';
import { eventually } from '../support/eventually.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';
import { startProxy } from '../support/proxy.ts';
import { type RawClient, rawClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

const workers = 2;
const limit = 12;

test('with limits of connections, of an address, and to an upstream, clients are served', async (t) => {
  const { penstock, port } = await stopped(t, { connections: 1000, connections_per_ip: 1000 }, 1000);
  assert.equal((await greeted(t, port, 100)).length, 100);
  assert.equal((await greeted(t, port, 100)).length, 100);
  penstock.child.kill('SIGCONT');
  assert.equal((await greeted(t, port, 10)).length, 10);
});

test('each worker lets in as many as the limit says, and no more', async (t) => {
  const { port } = await stopped(t, { connections: limit });
  const clients = await greeted(t, port, 4 * limit);
  assert.ok(clients.length >= limit && clients.length <= workers * limit, `${clients.length}`);
});

test('what it let in by itself is counted when the supervisor is back', async (t) => {
  const { penstock, port } = await stopped(t, { connections: limit });
  const clients = await greeted(t, port, 4 * limit);
  penstock.child.kill('SIGCONT');
  await eventually(async () => {
    const more = await greeted(t, port, 2);
    clients.push(...more);
    assert.equal(more.length, 0);
  }, 20_000);
  await leave(penstock, clients);
  await isFull(t, port);
});

test('limits of an address, likewise', async (t) => {
  const { penstock, port } = await stopped(t, { connections_per_ip: limit });
  const clients = await greeted(t, port, 4 * limit);
  assert.ok(clients.length >= limit && clients.length <= workers * limit, `${clients.length}`);
  penstock.child.kill('SIGCONT');
  await leave(penstock, clients);
  await isFull(t, port);
});

test('who gave up waiting for it has a code that blames no client', async (t) => {
  const { penstock, port } = await stopped(t, { connections: limit }, undefined, { client_hello: '200ms' });
  await greeted(t, port, 1);
  const line = () => penstock.log().find(({ msg }) => msg === 'connection');
  await eventually(() => assert.equal(line()?.['code'], 'ERR_ADMISSION_TIMEOUT'), 20_000);
  assert.equal(line()?.['side'], 'proxy');
});

test('a client whose hello came while the process stood still is served', async (t) => {
  const upstream = await tcpUpstream(t, (socket) => socket.once('data', () => socket.end('!')));
  const proxy = await startProxy(t, {
    listeners: {
      one: { timeouts: { client_hello: '200ms' }, routes: [{ tls: 'passthrough', upstream: 'u' }] },
    },
    upstreams: { u: { endpoints: [`127.0.0.1:${upstream.port}`] } },
  });
  const client = connect(proxy.port(), '127.0.0.1').on('error', () => {});
  t.after(() => client.destroy());
  await once(client, 'connect');
  const later = rawClient(t, proxy.port());
  later.socket.write(capturedHello('node-26'));
  await later.until(1); // so that the first is accepted by now
  client.write(capturedHello('node-26'));
  const until = performance.now() + 600;
  while (performance.now() < until);
  const [answer] = await Promise.race([once(client, 'data'), once(client, 'close').then(() => [])]);
  assert.equal(String(answer), '!', JSON.stringify(proxy.log));
});

/** Two workers before a server that greets, and their supervisor is stopped. */
async function stopped(t: TestContext, limits: object, upstreamLimit?: number, timeouts: object = {}) {
  const upstream = await tcpUpstream(t, (socket) => {
    socket.write('!');
    socket.on('end', () => socket.end()).resume();
  });
  const penstock = await startPenstock(t, {
    workers,
    listeners: {
      one: { bind: '127.0.0.1:0', limits, timeouts, routes: [{ tls: 'off', upstream: 'greeter' }] },
    },
    upstreams: {
      greeter: {
        endpoints: [`127.0.0.1:${upstream.port}`],
        ...(upstreamLimit && { limits: { connections: upstreamLimit } }),
      },
    },
  });
  const port = penstock.port('one');
  penstock.child.kill('SIGSTOP');
  return { penstock, port };
}

/** Those of `count` clients at once that reached the upstream. */
async function greeted(t: TestContext, port: number, count: number): Promise<RawClient[]> {
  const clients = Array.from({ length: count }, () => rawClient(t, port, {}));
  const outcomes = await Promise.allSettled(clients.map((client) => client.until(1)));
  return clients.filter((_, index) => outcomes[index]?.status === 'fulfilled');
}

/** As many as the limit says get in, once all is counted, and nobody more. */
async function isFull(t: TestContext, port: number): Promise<void> {
  const clients: RawClient[] = [];
  await eventually(async () => {
    clients.push(...(await greeted(t, port, 1)));
    assert.equal(clients.length, limit);
  }, 20_000);
  assert.equal((await greeted(t, port, 2 * limit)).length, 0);
}

async function leave(penstock: Penstock, clients: readonly RawClient[]): Promise<void> {
  for (const { socket } of clients) socket.destroy();
  const left = () => penstock.log().filter(({ phase }) => phase === 'splice').length;
  await eventually(() => assert.equal(left(), clients.length), 20_000);
}
