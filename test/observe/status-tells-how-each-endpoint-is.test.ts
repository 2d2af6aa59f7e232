/**
 * /status tells of each endpoint, over all workers: its state and since when, how far a slow start or a rest has come, its
 * connections, and why it failed last; of each code, which connection it ended last; and what of this needs a look.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EndpointStatus, Status } from '../../src/observe/status.ts';
import { eventually } from '../support/eventually.ts';
import { http } from '../support/http.ts';
import { type Mortal, mortalUpstream } from '../support/mortal.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';
import { exchange } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';

function start(t: TestContext, endpoints: readonly string[], upstream: object = {}): Promise<Penstock> {
  return startPenstock(t, {
    workers: 2,
    admin: { bind: '127.0.0.1:0' },
    listeners: { one: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'orders' }] } },
    upstreams: { orders: { endpoints, ...upstream } },
  });
}

async function statusOf(penstock: Penstock): Promise<Status> {
  const admin = String(penstock.log().find(({ msg }) => msg === 'ready')?.['admin']);
  return JSON.parse((await http(admin, '/status')).body) as Status;
}

/** What it tells of an endpoint, once it fits. */
async function told(
  penstock: Penstock,
  { address }: Mortal,
  fits: (endpoint: EndpointStatus) => boolean,
): Promise<EndpointStatus> {
  let found: EndpointStatus | undefined;
  await eventually(async () => {
    const { upstreams } = await statusOf(penstock);
    found = upstreams[0]?.endpoints.find(({ label }) => label === address);
    assert.ok(found && fits(found), JSON.stringify(upstreams));
  }, 15_000);
  return found as EndpointStatus;
}

const isBetween = (iso: string | null | undefined, from: number, to: number) =>
  assert.ok(iso && Date.parse(iso) >= from && Date.parse(iso) <= to, `${iso}`);

test('connections are those of all workers', async (t) => {
  const upstream = await mortalUpstream(t);
  const penstock = await start(t, [upstream.address]);
  const clients = Array.from({ length: 20 }, () => {
    const client = rawClient(t, penstock.port('one'));
    client.socket.write('x');
    return client;
  });
  for (const client of clients) await client.until(1);
  const { state, since, last_error } = await told(penstock, upstream, ({ active }) => active === 20);
  assert.deepEqual([state, since, last_error], ['unchecked', null, undefined]);
  for (const client of clients) client.socket.end();
  await told(penstock, upstream, ({ active }) => active === 0);
});

test('an endpoint whose check fails, and that comes back slowly', async (t) => {
  const upstream = await mortalUpstream(t);
  const health_check = { type: 'tcp', interval: '50ms', timeout: '1s', healthy_after: 1, unhealthy_after: 1 };
  const startedAt = Date.now();
  const penstock = await start(t, [upstream.address], { health_check, slow_start: '1h' });
  const first = await told(
    penstock,
    upstream,
    ({ state, check_ms }) => state === 'up' && check_ms !== undefined,
  );
  assert.equal(first.since, null);
  const diedAt = Date.now();
  upstream.die();
  const down = await told(penstock, upstream, ({ state }) => state === 'down');
  isBetween(down.since, diedAt - 1, Date.now() + 1);
  assert.match(String(down.last_error), /refused the connection \(ECONNREFUSED\)/);
  assert.equal(down.last_error_at, undefined);
  const backAt = Date.now();
  await upstream.comeBack();
  const slow = await told(penstock, upstream, ({ state }) => state === 'slow_start');
  isBetween(slow.since, backAt - 1, Date.now() + 1);
  assert.ok(slow.share !== undefined && slow.share >= 0 && slow.share < (Date.now() - startedAt) / 3_600_000);
  assert.equal(slow.last_error, undefined);
});

test('an endpoint that rests, until when, in new workers as in old ones', async (t) => {
  const [one, two] = [await mortalUpstream(t), await mortalUpstream(t)];
  const hour = 3_600_000;
  const outlier = { failures: 1, eject_for: '1h' };
  const penstock = await start(t, [one.address, two.address], { outlier });
  const startedAt = Date.now();
  two.die();
  await eventually(async () => {
    await exchange(penstock.port('one'), 'ping');
    assert.ok(penstock.log().some(({ msg }) => msg === 'endpoint ejected'));
  });
  const rests = await told(penstock, two, ({ state }) => state === 'ejected');
  const ejectedAt = Date.parse(String(rests.since));
  isBetween(rests.since, startedAt, Date.now() + 1);
  // Both in whole milliseconds, cut off; the workers heard of it one after the other.
  isBetween(rests.until, ejectedAt + hour - 1, Date.now() + hour + 1);
  assert.match(String(rests.last_error), /refused the connection/);

  // So that what is gone of it by now is more than new workers take to start.
  await sleep(2000);
  penstock.child.kill('SIGUSR2');
  const replaced = () => penstock.log().some(({ msg }) => msg === 'replaced worker ended');
  await eventually(() => assert.ok(replaced()), 20_000);
  const later = await told(penstock, two, ({ state }) => state === 'ejected');
  const took = Date.now() - ejectedAt;
  const [before, after] = [rests.until, later.until].map((iso) => Date.parse(String(iso)));
  assert.ok(Math.abs(Number(after) - Number(before)) < took / 2, 'the time that is left, not all of it anew');
});

test('a dial that failed, though no client noticed', async (t) => {
  const [one, two] = [await mortalUpstream(t), await mortalUpstream(t)];
  const startedAt = Date.now();
  const penstock = await start(t, [one.address, two.address]);
  two.die();
  for (let count = 0; count < 8; count += 1) await exchange(penstock.port('one'), 'ping');
  const failed = await told(penstock, two, ({ last_error }) => last_error !== undefined);
  assert.equal(failed.state, 'unchecked');
  isBetween(failed.last_error_at, startedAt, Date.now() + 1);
  const good = await told(penstock, one, () => true);
  assert.equal(good.last_error, undefined);
});

test('where no client gets through, and where no more are let in, is a problem that says why', async (t) => {
  const [dead, alive] = [await mortalUpstream(t), await mortalUpstream(t)];
  const routes = (upstream: string) => [{ name: upstream, tls: 'off', upstream }];
  const penstock = await startPenstock(t, {
    workers: 1,
    admin: { bind: '127.0.0.1:0' },
    listeners: {
      one: { bind: '127.0.0.1:0', routes: routes('dead') },
      two: { bind: '127.0.0.1:0', limits: { connections: 1 }, routes: routes('alive') },
    },
    upstreams: { dead: { endpoints: [dead.address] }, alive: { endpoints: [alive.address] } },
  });
  const problems = async () =>
    (await statusOf(penstock)).problems.map(({ severity, text }) => `${severity}: ${text}`);
  await exchange(penstock.port('one'), 'ping');
  assert.deepEqual(await problems(), []);

  dead.die();
  const client = rawClient(t, penstock.port('two'));
  client.socket.write('x');
  await client.until(1);
  await exchange(penstock.port('one'), 'ping');
  await eventually(async () => {
    const [first, second, ...others] = await problems();
    assert.equal(first, 'bad: listener two has 1 of at most 1 connections: further clients are refused');
    assert.match(String(second), /^bad: no connection to upstream dead succeeds: \S+ refused the connection/);
    assert.deepEqual(others, []);
  });
  const { listeners } = await statusOf(penstock);
  const [ending] = listeners.find(({ name }) => name === 'one')?.errors ?? [];
  await eventually(() => {
    const logged = penstock.log().find(({ code, msg }) => code && msg === 'connection');
    assert.deepEqual(
      [ending?.code, ending?.count, ending?.last?.conn, ending?.last?.client, ending?.last?.error],
      ['ERR_UPSTREAM_CONNECT', 1, logged?.['conn'], logged?.['client'], logged?.['error']],
    );
  });

  await dead.comeBack();
  await exchange(penstock.port('one'), 'ping');
  client.socket.destroy();
  await eventually(async () => assert.deepEqual(await problems(), []));
});
