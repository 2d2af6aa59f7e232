/**
 * Limits are those of the listener or the address, however its clients fall on the workers: never one too many, and nobody
 * is refused while there is room. What is free is granted though another worker does not answer; what that one gives back
 * later is free from then on.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createLeases } from '../../src/supervisor/leases.ts';
import { eventually } from '../support/eventually.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';
import { type RawClient, rawClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

test('connections of a listener', async (t) => {
  const { penstock, port } = await limited(t, { connections: 10 });
  const clients = await greeted(t, port, 40);
  assert.equal(clients.length, 10);
  await refusals(penstock, 'ERR_CONNECTION_LIMIT', 30);
  // Whoever leaves makes room, wherever the next one comes in.
  for (const { socket } of clients.slice(0, 4)) socket.destroy();
  await eventually(() =>
    assert.equal(
      penstock.log().filter(({ phase }) => phase === 'splice').length,
      4,
      'they have been counted out',
    ),
  );
  assert.equal((await greeted(t, port, 4)).length, 4);
});

test('connections of an address', async (t) => {
  const { penstock, port } = await limited(t, { connections_per_ip: 5 });
  assert.equal((await greeted(t, port, 20)).length, 5);
  await refusals(penstock, 'ERR_CONNECTION_LIMIT_PER_IP', 15);
  assert.equal((await greeted(t, port, 3, '127.0.0.2')).length, 3);
});

test('new connections of an address a second', async (t) => {
  const { penstock, port } = await limited(t, { rate_per_ip: '6/h' });
  assert.equal((await greeted(t, port, 20)).length, 1);
  await refusals(penstock, 'ERR_RATE_LIMIT_PER_IP', 19);
});

test('connections of a listener, time and again: nobody is refused while there is room', async (t) => {
  for (let round = 0; round < 5; round += 1) {
    const { penstock, port } = await limited(t, { connections: 10 });
    assert.equal((await greeted(t, port, 10)).length, 10);
    penstock.child.kill('SIGKILL');
  }
});

test('what a dead worker had is free again', async (t) => {
  const { penstock, port } = await limited(t, { connections: 10, connections_per_ip: 10 });
  const clients = await greeted(t, port, 10);
  assert.equal(clients.length, 10);
  const opened = () => penstock.log().filter(({ msg }) => msg === 'connection open');
  await eventually(() => assert.equal(opened().length, 10));
  // One that has some of them.
  process.kill(Number(opened()[0]?.['pid']), 'SIGKILL');
  const gone = () => clients.filter(({ socket }) => socket.destroyed || socket.readableEnded).length;
  await eventually(() => assert.ok(gone() > 0));
  const lost = gone();
  await eventually(
    () => assert.equal(penstock.log().filter(({ msg }) => msg === 'worker serving').length, 3),
    15_000,
  );
  assert.equal((await greeted(t, port, lost)).length, lost);
});

/** Two workers, a server-first upstream, and these limits. */
async function limited(t: TestContext, limits: object): Promise<{ penstock: Penstock; port: number }> {
  const upstream = await tcpUpstream(t, (socket) => {
    socket.write('!');
    socket.on('end', () => socket.end()).resume();
  });
  const penstock = await startPenstock(t, {
    workers: 2,
    log: { access_open: true },
    listeners: { one: { bind: '127.0.0.1:0', limits, routes: [{ tls: 'off', upstream: 'greeter' }] } },
    upstreams: { greeter: { endpoints: [`127.0.0.1:${upstream.port}`] } },
  });
  return { penstock, port: penstock.port('one') };
}

/** Those of `count` clients at once that reached the upstream. */
async function greeted(
  t: TestContext,
  port: number,
  count: number,
  localAddress = '127.0.0.1',
): Promise<RawClient[]> {
  const clients = Array.from({ length: count }, () => rawClient(t, port, { localAddress }));
  const outcomes = await Promise.allSettled(clients.map((client) => client.until(1)));
  return clients.filter((_, index) => outcomes[index]?.status === 'fulfilled');
}

async function refusals(penstock: Penstock, code: string, count: number): Promise<void> {
  await eventually(() => {
    const refused = penstock.log().filter((line) => line.msg === 'connection' && line['code'] === code);
    assert.equal(refused.length, count);
  });
}

test('a worker that does not answer is not waited for', async () => {
  let answer: (amount: number) => void = () => {};
  const office = createLeases(
    () =>
      new Promise((resolve) => {
        answer = resolve;
      }),
    { patience: 20 },
  );
  office.setLimits(new Map([['clients', 10]]));
  let held = 0;
  while (held < 10) held += await office.request(1, 'clients', 10);
  assert.equal(await office.request(2, 'clients', 10), 0);
  answer(4);
  await new Promise(setImmediate);
  const granted = await office.request(2, 'clients', 10);
  assert.ok(granted > 0 && granted <= 4, `${granted}`);
});
