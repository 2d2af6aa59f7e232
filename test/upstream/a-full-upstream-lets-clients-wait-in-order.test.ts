/**
 * An upstream has no more connections than its limit; clients above it wait in the order they came, as many and as long
 * as its queue says, and are refused by a code otherwise. A client that goes is passed over, the wait is no part of
 * `timeouts.connect`, failed dials give their place back, and a reload changes the limit for those that wait, too.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { localQuotas, type Quota } from '../../src/ipc/quota.ts';
import { createSlots } from '../../src/upstream/slots.ts';
import { eventually } from '../support/eventually.ts';
import { type Mortal, mortalUpstream } from '../support/mortal.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { cancelRequest, parseErrorResponse, startup } from '../support/postgres.ts';
import { exchange, startProxy } from '../support/proxy.ts';
import { closedPort } from '../support/upstream.ts';

const proxyConfig = (endpoints: string[], upstream: object) => ({
  listeners: { plain: { routes: [{ tls: 'off', upstream: 'orders' }] } },
  upstreams: { orders: { endpoints, ...upstream } },
});

/** A client that is served: its echo has come. */
async function served(t: TestContext, port: number): Promise<Socket> {
  const socket = waiting(t, port);
  await once(socket, 'data');
  return socket;
}

/** A client that has said something, and may have to wait. */
function waiting(t: TestContext, port: number): Socket {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  t.after(() => socket.destroy());
  socket.write('ping');
  return socket;
}

async function hasOpen(upstream: Mortal, count: number): Promise<void> {
  await eventually(() => assert.equal(upstream.open.size, count));
}

test('without a queue a client above the limit is refused, until one has gone', async (t) => {
  const upstream = await mortalUpstream(t);
  const proxy = await startProxy(t, proxyConfig([upstream.address], { limits: { connections: 2 } }));
  const first = await served(t, proxy.port());
  await served(t, proxy.port());
  assert.equal((await exchange(proxy.port(), 'ping')).received.length, 0);
  const line = await proxy.connectionLine();
  assert.deepEqual([line['code'], line['side'], line['phase']], ['ERR_UPSTREAM_LIMIT', 'proxy', 'connect']);
  assert.equal(line['error'], 'upstream orders already has its 2 connections');
  assert.equal(upstream.accepted, 2);
  first.end();
  await once(first.resume(), 'close');
  await eventually(() => served(t, proxy.port()).then(() => {}));
});

test('clients wait in order, and one that goes is passed over', async (t) => {
  const upstream = await mortalUpstream(t);
  const limits = { connections: 1, queue: { max: 10, timeout: '10s' } };
  const proxy = await startProxy(
    t,
    proxyConfig([upstream.address], { limits, timeouts: { connect: '300ms' } }),
  );
  let current = await served(t, proxy.port());
  const order: string[] = [];
  const clients: Socket[] = [];
  for (const name of ['a', 'b', 'gone', 'c', 'd']) {
    const client = waiting(t, proxy.port());
    client.once('data', () => order.push(name));
    clients.push(client);
    await once(client, 'connect');
  }
  clients[2]?.resetAndDestroy();
  await proxy.connectionLine((it) => it['side'] === 'client');
  for (const client of [clients[0], clients[1], clients[3], clients[4]] as Socket[]) {
    const answered = once(client, 'data');
    current.destroy();
    await answered;
    current = client;
  }
  assert.deepEqual(order, ['a', 'b', 'c', 'd']);
  assert.equal(upstream.accepted, 5);
});

test('a full queue and a wait in vain each have their code', async (t) => {
  const upstream = await mortalUpstream(t);
  const limits = { connections: 1, queue: { max: 1, timeout: '400ms' } };
  const proxy = await startProxy(
    t,
    proxyConfig([upstream.address], { limits, timeouts: { connect: '50ms' } }),
  );
  await served(t, proxy.port());
  const [one, two] = [exchange(proxy.port(), 'ping'), exchange(proxy.port(), 'ping')];
  assert.equal((await one).received.length + (await two).received.length, 0);
  const full = await proxy.connectionLine((it) => it['code'] === 'ERR_UPSTREAM_QUEUE_FULL');
  assert.equal(full['error'], 'the queue of upstream orders is full: 1 waiting');
  const late = await proxy.connectionLine((it) => it['code'] === 'ERR_UPSTREAM_QUEUE_TIMEOUT');
  assert.equal(late['error'], 'no connection to upstream orders became free within 400 ms');
  assert.equal(upstream.accepted, 1);
});

test('dials that fail take no place for good', async (t) => {
  const limits = { connections: 1 };
  const proxy = await startProxy(t, proxyConfig([`127.0.0.1:${await closedPort()}`], { limits, retries: 0 }));
  for (let turn = 0; turn < 3; turn++) await exchange(proxy.port(), 'ping');
  const codes = () => proxy.log.filter(({ msg }) => msg === 'connection').map((line) => line['code']);
  await eventually(() => assert.deepEqual(codes(), Array(3).fill('ERR_UPSTREAM_CONNECT')));
});

test('PostgreSQL clients are told in their own words, and a CancelRequest needs no place', async (t) => {
  const { sections, files } = await ownCertificate('db.example');
  const upstream = await mortalUpstream(t);
  const routes = [
    { sni: 'db.example', tls: { certificates: 'own' }, upstream: 'orders' },
    { tls: 'off', upstream: 'orders' },
  ];
  const proxy = await startProxy(
    t,
    {
      ...sections,
      listeners: { db: { starttls: 'postgres', routes } },
      upstreams: { orders: { endpoints: [upstream.address], limits: { connections: 1 } } },
    },
    files,
  );
  const session = connect(proxy.port(), '127.0.0.1').on('error', () => {});
  t.after(() => session.destroy());
  session.write(startup());
  await once(session, 'data');
  const refused = await exchange(proxy.port(), startup());
  assert.equal(parseErrorResponse(refused.received).state, '53300');
  await exchange(proxy.port(), cancelRequest(4711), { end: false });
  assert.equal(upstream.accepted, 2);
});

test('a reload keeps the count and the queue, and may raise the limit', async (t) => {
  const upstream = await mortalUpstream(t);
  const config = (connections: number) =>
    proxyConfig([upstream.address], { limits: { connections, queue: { max: 10, timeout: '10s' } } });
  const proxy = await startProxy(t, config(1));
  await served(t, proxy.port());
  const before = waiting(t, proxy.port());
  await once(before, 'connect');
  await proxy.reload(config(1));
  const after = waiting(t, proxy.port());
  await once(after, 'connect');
  await hasOpen(upstream, 1);
  const answers = Promise.all([once(before, 'data'), once(after, 'data')]);
  await proxy.reload(config(3));
  await answers;
});

/** A count that answers by a promise, as one that is shared with other processes does. */
function shared(limit: () => number): Quota {
  let used = 0;
  return {
    async take() {
      await nextTurn();
      if (used >= limit()) return false;
      used += 1;
      return true;
    },
    takeSpare: () => undefined,
    give() {
      used -= 1;
    },
    used: () => used,
  };
}

const never = new AbortController().signal;

test('where processes share the limit, what another one gives back is found', async () => {
  let limit = 1;
  const quota = shared(() => limit);
  const limits = { connections: 100, queue: { max: 10, timeout: 5000 } };
  const { enter } = createSlots('orders', () => quota).under(limits);
  const leave = await enter(never);
  const order: number[] = [];
  const others = [1, 2, 3].map(async (number) => {
    const leave = await enter(never);
    order.push(number);
    return leave;
  });
  limit = 4;
  const leaves = await Promise.all(others);
  assert.deepEqual(order, [1, 2, 3]);
  assert.equal(quota.used(), 4);
  for (const give of [leave, ...leaves]) give?.();
  assert.equal(quota.used(), 0);
});

test('where processes share the limit, nobody overtakes', async () => {
  let limit = 1;
  const quota = shared(() => limit);
  const limits = { connections: 100, queue: { max: 10, timeout: 5000 } };
  const { enter } = createSlots('orders', () => quota).under(limits);
  await enter(never);
  const order: string[] = [];
  const client = async (name: string) => {
    await enter(never);
    order.push(name);
    // Room for the next one.
    limit += 1;
  };
  const early = client('early');
  // It waits by now, and asks again only after a while.
  for (let turn = 0; turn < 5; turn++) await nextTurn();
  limit = 2;
  await Promise.all([early, client('late')]);
  assert.deepEqual(order, ['early', 'late']);
});

test('a burst waits for the answer of another process, not in the queue', async () => {
  const quota = shared(() => 50);
  const limits = { connections: 50, queue: { max: 1, timeout: 5000 } };
  const { enter } = createSlots('orders', () => quota).under(limits);
  const burst = Array.from({ length: 50 }, () => enter(never));
  await Promise.all(burst);
  assert.equal(quota.used(), 50);
});

test('whoever goes while another process is asked takes no place', async () => {
  const quota = shared(() => 1);
  const { enter } = createSlots('orders', () => quota).under({ connections: 1 });
  const gone = new AbortController();
  const entering = enter(gone.signal);
  gone.abort(new Error('the client has gone'));
  await assert.rejects(async () => entering, /the client has gone/);
  assert.equal(quota.used(), 0);
});

test('without a limit there is nothing to wait for, and nothing is counted', () => {
  const slots = createSlots('orders', (limit) => localQuotas()('orders', limit));
  assert.equal(slots.under({ connections: Number.POSITIVE_INFINITY }).enter(never), undefined);
});
