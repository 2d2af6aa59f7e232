/**
 * `cluster.limits: cluster`: three machines share the limit of a listener. Never are there more connections
 * than it says, one machine alone may have all of them, and what a machine no longer uses another one gets.
 * What a machine that vanished had stays reserved, and what one that was stopped had is free at once.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Division, formatDivision } from '../../src/cluster/division.ts';
import { createEtcd } from '../../src/cluster/etcd/etcd.ts';
import { createdAt, put, remove } from '../../src/cluster/etcd/messages.ts';
import { follow } from '../../src/cluster/follow.ts';
import { keysOf } from '../../src/cluster/keys.ts';
import { Shares } from '../../src/cluster/shares.ts';
import { type OpenClient, tlsOpen } from '../support/clients.ts';
import {
  type Machine,
  root,
  startCluster,
  succeeded,
  type TestCluster,
  tenants,
} from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

const limit = 12;

describe('a limit of three machines', { timeout: 280_000 }, () => {
  let cluster: TestCluster;
  let machines: Machine[];
  const open = new Map<Machine, OpenClient[]>();
  const ends: (() => unknown)[] = [];

  before(async () => {
    cluster = await startCluster({ after: (end) => void ends.push(end as () => unknown) });
    machines = await Promise.all(['one', 'two', 'three'].map((name) => start(name)));
    const { objects, files } = await tenants(cluster, 'orders');
    succeeded(await cluster.cluster(['apply', 'FILE', '--wait', '--timeout', '30'], objects, files));
  });
  after(async () => {
    for (const clients of open.values()) for (const { socket } of clients) socket.destroy();
    for (const end of ends.reverse()) await end();
  });

  const start = (name: string) =>
    cluster.machine(name, {
      cluster: { limits: 'cluster' },
      more: { listeners: { edge: { bind: '127.0.0.1:0', limits: { connections: limit } } } },
    });
  const clientsOf = (machine: Machine) => open.get(machine) ?? [];
  const all = () => [...open.values()].reduce((sum, { length }) => sum + length, 0);

  /** Opens a connection that stays; false if it is refused. */
  async function enter(machine: Machine): Promise<boolean> {
    const client = await tlsOpen(machine.penstock.port('edge'), {
      servername: 'orders.example.com',
      ca: cluster.authority.cert,
    }).catch(() => undefined);
    if (client === undefined) return false;
    const isServed = await Promise.race([
      client.ask('ping').then(() => true),
      new Promise<boolean>((resolve) => client.socket.once('close', () => resolve(false))),
    ]).catch(() => false);
    if (!isServed) return false;
    client.socket.on('error', () => {});
    open.set(machine, [...clientsOf(machine), client]);
    assert.ok(all() <= limit, `${all()} connections are open`);
    return true;
  }

  /** As many as it gets within a while; each second parts may move. */
  async function fill(machine: Machine, wanted: number): Promise<void> {
    await eventually(async () => {
      await enter(machine);
      assert.ok(clientsOf(machine).length >= wanted, `${clientsOf(machine).length} of ${wanted}`);
    }, 30_000);
  }

  async function leave(machine: Machine, left: number): Promise<void> {
    for (const client of clientsOf(machine).slice(left)) await client.end();
    open.set(machine, clientsOf(machine).slice(0, left));
  }

  test('all three at once never have more than it says', async () => {
    await Promise.all(
      machines.map(async (machine) => {
        for (let tries = 0; tries < limit; tries++) await enter(machine);
      }),
    );
    await eventually(async () => {
      for (const machine of machines) await enter(machine);
      assert.equal(all(), limit);
    }, 30_000);
    for (const machine of machines) assert.equal(await enter(machine), false);
    const seen = JSON.parse(await cluster.etcd.ctl('get', `${root}limits/edge`, '--print-value-only'));
    const shares = Object.values(seen as Record<string, { share: number }>).map(({ share }) => share);
    assert.ok(shares.reduce((sum, share) => sum + share, 0) <= limit, JSON.stringify(seen));
  });

  test('what one no longer uses another one gets, up to all of it', async () => {
    const [one, two, three] = machines as [Machine, Machine, Machine];
    await leave(one, 0);
    await leave(three, 0);
    await fill(two, limit);
    assert.equal(await enter(one), false);
  });

  test('what a machine that was stopped had is free at once', async () => {
    const [one, two, three] = machines as [Machine, Machine, Machine];
    await leave(two, 0);
    two.penstock.child.kill('SIGTERM');
    await two.penstock.exited;
    await fill(one, limit);
    await leave(one, limit - 4);
    await fill(three, 4);
  });

  test('what a machine that vanished had stays reserved: it may still serve', async () => {
    const [one, , three] = machines as [Machine, Machine, Machine];
    three.penstock.child.kill('SIGKILL');
    // Its workers drain until the last of them has gone.
    for (const { socket } of clientsOf(three)) socket.destroy();
    open.set(three, []);
    await three.penstock.exited;
    const reserved = JSON.parse(await cluster.etcd.ctl('get', `${root}limits/edge`, '--print-value-only'));
    for (let tries = 0; tries < 20; tries++) await enter(one);
    assert.ok(clientsOf(one).length <= limit - reserved.three.share, JSON.stringify(reserved));
    // The same machine again has its part at once.
    machines[2] = await start('three');
    await fill(machines[2], 1);
  });

  test('after ten minutes it is free', async () => {
    const [machine, gone, lost] = ['two', 'gone', 'lost'];
    const keys = keysOf({ prefix: '/penstock', name: 'released' });
    const user = await cluster.etcd.user('keeper', ['readwrite', '/penstock/']);
    const { endpoints, authority } = cluster.etcd;
    const etcd = createEtcd({ endpoints, ca: [authority.cert], certificate: user });
    ends.push(() => etcd.close());
    const division: Division = new Map([
      [gone, { share: 5, short: false }],
      [lost, { share: 3, short: false }],
    ]);
    const { revision } = await etcd.txn([], [put(keys.machine(machine), '{}')]);
    await etcd.txn([], [put(keys.limit('edge'), formatDivision(division))]);
    let now = 0;
    const follower = follow(etcd, keys.root, {
      onChange: (changed) => shares.changed(changed),
      onConnected: () => {},
      onEventsLost: () => {},
    });
    const guard = () => createdAt(keys.machine(machine), revision);
    const shares = new Shares({ etcd, keys, machine, copy: () => follower.copy(), guard, now: () => now });
    ends.push(
      () => follower.close(),
      () => shares.close(),
    );
    shares.setLimits(new Map([['edge', limit]]));
    shares.attach({ held: () => limit, reclaim: async () => {}, setPart: () => {} });
    const asks = async (wanted: number) => {
      await eventually(async () => {
        await shares.more('edge');
        assert.equal(shares.partOf('edge'), wanted);
      }, 20_000);
    };
    await eventually(() => assert.ok(follower.copy()));
    // Nobody has asked for more: it counts as gone all the same.
    await sleep(2500);
    now += 10 * 60_000 - 1;
    await asks(4);
    // It is back for a moment, so it may serve for another ten minutes.
    await etcd.txn([], [put(keys.machine(gone), '{}')]);
    await eventually(() => assert.ok(follower.copy()?.entries.has(keys.machine(gone))));
    await sleep(2500);
    // The other one has been away for ten minutes.
    now += 2;
    await asks(7);
    await etcd.txn([], [remove(keys.machine(gone))]);
    await eventually(() => assert.ok(!follower.copy()?.entries.has(keys.machine(gone))));
    await sleep(2500);
    now += 10 * 60_000 - 1;
    for (let tries = 0; tries < 3; tries++) await shares.more('edge');
    assert.equal(shares.partOf('edge'), 7);
    now += 2;
    await asks(limit);
  });

  test('the status says whose part is reserved', async () => {
    await cluster.etcd.ctl('put', `${root}limits/other`, '{"gone": {"share": 3, "short": false}}');
    const told = succeeded(await cluster.cluster(['status']));
    assert.match(told, /^limits\.connections of edge: (?!.*gone).*\bone \d+/m);
    assert.match(told, /^limits\.connections of other: gone 3 \(gone: reserved for ten minutes\)$/m);
  });

  test('without etcd parts stay as they are', async () => {
    for (const member of cluster.etcd.members) await member.stop();
    const [one, , three] = machines as [Machine, Machine, Machine];
    for (let tries = 0; tries < 10; tries++) await Promise.all([enter(one), enter(three)]);
    assert.ok(all() <= limit);
    await leave(one, 2);
    await fill(one, 3);
  });
});
