/**
 * Whatever happens to a stream or to a member of etcd, what a machine knows is what etcd holds, and it knows it soon: a stream that
 * is cut right after it was made, a compaction or a restored backup meanwhile, a member that hangs or has lost the others.
 * `PENSTOCK_CUTS` says how often a stream is cut (500 when this was written; fewer each day).
 */
import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import { before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEtcd, type Etcd } from '../../src/cluster/etcd/etcd.ts';
import { put, remove } from '../../src/cluster/etcd/messages.ts';
import { type Follower, follow } from '../../src/cluster/follow.ts';
import { startEtcd, type TestEtcd } from '../support/etcd.ts';
import { eventually } from '../support/eventually.ts';

const prefix = '/penstock/edge/';

describe('a watch loses nothing', { timeout: 280_000 }, () => {
  let etcd: TestEtcd;
  let writer: Etcd;
  let user: { cert: string; key: string };
  const ends: (() => unknown)[] = [];
  const soon = { after: (end: unknown) => void ends.push(end as () => unknown) };

  before(async () => {
    etcd = await startEtcd(soon);
    user = await etcd.user('machine', ['readwrite', '/penstock/']);
    writer = clientOf(etcd.endpoints);
  });

  const clientOf = (endpoints: readonly string[]) => {
    const client = createEtcd({ endpoints, ca: [etcd.authority.cert], certificate: user });
    soon.after(() => client.close());
    return client;
  };
  const following = (endpoints: readonly string[]) => {
    const seen = { lost: 0, faults: 0, connected: 0 };
    const follower: Follower = follow(clientOf(endpoints), prefix, {
      onChange: () => {},
      onConnected(fault) {
        if (fault) seen.faults += 1;
        else seen.connected += 1;
      },
      onEventsLost() {
        seen.lost += 1;
      },
    });
    soon.after(() => follower.close());
    return { follower, seen };
  };
  const write = (key: string, value: string) => writer.txn([], [put(prefix + key, value)]);
  const same = async (follower: Follower, within = 10_000) => {
    await eventually(async () => {
      const { entries } = await writer.range(prefix);
      const ours = [...(follower.copy()?.entries.values() ?? [])].sort((a, b) => (a.key < b.key ? -1 : 1));
      assert.deepEqual(
        ours.map(({ key, value }) => [key, String(value)]),
        entries.map(({ key, value }) => [key, String(value)]),
      );
    }, within);
  };

  test('a cut right after reconnecting loses nothing', async () => {
    const cuts = Number(process.env['PENSTOCK_CUTS'] ?? 25);
    const relay = await startRelay(etcd.members[0]?.port ?? 0);
    soon.after(relay.close);
    const { follower, seen } = following([`https://127.0.0.1:${relay.port}`]);
    await eventually(() => assert.ok(follower.copy()));
    const begun = follower.copy()?.revision ?? 0;
    for (let cut = 0; cut < cuts; cut++) {
      relay.cut();
      await write('cut', `${cut}`);
      await write(`cut-${cut % 7}`, `${cut}`);
      // The stream is being made, and etcd catches up every 100 ms: some cuts come before, some amid, some after that.
      await relay.connected();
      await sleep(Math.random() * 150);
      relay.cut();
    }
    await same(follower);
    assert.ok(seen.faults > cuts / 10, `${seen.faults} faults`);
    assert.equal(seen.lost, 0);
    assert.ok((follower.copy()?.revision ?? 0) >= begun + 2 * cuts);
    follower.close();
  });

  test('a compaction while away loses nothing', async () => {
    const relay = await startRelay(etcd.members[0]?.port ?? 0);
    soon.after(relay.close);
    const { follower } = following([`https://127.0.0.1:${relay.port}`]);
    await same(follower);
    relay.refuse(true);
    relay.cut();
    await write('compacted', '1');
    await writer.txn([], [put(`${prefix}compacted`, '2')]);
    const { revision } = await write('after', 'x');
    await etcd.ctl('compact', String(revision));
    relay.refuse(false);
    await same(follower);
    follower.close();
  });

  test('a member that hangs is left', async () => {
    const { follower } = following(etcd.endpoints);
    await same(follower);
    // Whichever member it follows.
    for (const member of etcd.members) {
      member.pause();
      await write('hang', member.endpoint);
      await same(follower, 20_000);
      member.resume();
    }
    follower.close();
  });

  test('a minority member is left', async () => {
    const { follower } = following(etcd.endpoints);
    await same(follower);
    const [first, second, third] = etcd.members;
    const alone = clientOf([third?.endpoint ?? '']);
    const { seen } = following([third?.endpoint ?? '']);
    await eventually(() => assert.equal(seen.connected, 1));
    // What only the third knows is nothing: it has lost both others.
    first?.pause();
    second?.pause();
    await assert.rejects(alone.range(prefix));
    // It goes on answering, but says that it has no leader.
    await eventually(() => assert.ok(seen.faults > 0), 20_000);
    third?.pause();
    first?.resume();
    second?.resume();
    await eventually(async () => void (await write('majority', 'x')), 30_000);
    await same(follower, 30_000);
    third?.resume();
    follower.close();
  });

  test('what a watch has not delivered is found by comparing', async () => {
    let lost = 0;
    const onEventsLost = () => {
      lost += 1;
    };
    const events = { onChange() {}, onConnected() {}, onEventsLost };
    const follower = follow(deafTo('unheard'), prefix, events, { every: 300, lasts: 1000 });
    soon.after(() => follower.close());
    await same(follower);
    for (let heard = 0; heard < 20; heard++) await write('heard', `${heard}`);
    await same(follower);
    assert.equal(lost, 0);
    await write('unheard', '1');
    await same(follower);
    assert.equal(lost, 1);
    await writer.txn([], [remove(`${prefix}unheard`)]);
    await same(follower);
    assert.equal(lost, 2);
    follower.close();
  });

  /** A client whose watches lose what happens to one key, as those of some versions of etcd do. */
  function deafTo(key: string): Etcd {
    const client = clientOf(etcd.endpoints);
    return {
      ...client,
      watch(...at) {
        const watching = client.watch(...at);
        return {
          close: watching.close,
          async *[Symbol.asyncIterator]() {
            for await (const answer of watching) {
              if (answer.kind !== 'events') yield answer;
              else
                yield { ...answer, events: answer.events.filter(({ entry }) => entry.key !== prefix + key) };
            }
          },
        };
      },
    };
  }

  test('stops', async () => {
    for (const end of ends.reverse()) await end();
  });
});

/** Relays to a port, and can cut everything that passes through it. */
async function startRelay(port: number) {
  const sockets = new Set<Socket>();
  let refused = false;
  let accepted = 0;
  const server = createServer((client) => {
    if (refused) return void client.resetAndDestroy();
    accepted += 1;
    const member = connect(port, '127.0.0.1');
    for (const [one, other] of [
      [client, member],
      [member, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => {});
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  let before = 0;
  return {
    port: typeof address === 'object' && address ? address.port : 0,
    refuse: (does: boolean) => {
      refused = does;
    },
    cut() {
      before = accepted;
      for (const socket of sockets) socket.resetAndDestroy();
    },
    /** Since the last cut. */
    connected: () => eventually(() => assert.ok(accepted > before)),
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
