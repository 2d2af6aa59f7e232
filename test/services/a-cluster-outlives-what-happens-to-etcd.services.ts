/**
 * A user with a password whose tokens die within seconds follows etcd all the same; of two machines that
 * each believe that they lead, one rotates; and a backup that was restored without higher revisions is
 * noticed, and served.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Machine,
  root,
  startCluster,
  succeeded,
  type TestCluster,
  tenants,
} from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

/** How long etcd believes in a token that nobody uses, here (s). */
const tokenTtl = 2;
const rotate = 4;

describe('a cluster outlives what happens to etcd', { timeout: 280_000 }, () => {
  let cluster: TestCluster;
  let machines: Machine[];
  const ends: (() => unknown)[] = [];

  before(async () => {
    cluster = await startCluster({ after: (end) => void ends.push(end as () => unknown) });
    // A certificate without rights, only to be let in by TLS, and a user with a password.
    const nobody = await cluster.etcd.user('nobody');
    await cluster.etcd.ctl('user', 'add', 'clerk:let me in');
    await cluster.etcd.ctl('user', 'grant-role', 'clerk', 'machine');
    const files = { 'nobody.crt': nobody.cert, 'nobody.key': nobody.key, password: 'let me in\n' };
    const certificates = { machine: { cert: 'nobody.crt', key: 'nobody.key' } };
    const more = { session_tickets: { rotate: `${rotate}s` } };
    machines = await Promise.all([
      cluster.machine('one', { more }),
      cluster.machine('two', {
        etcd: { user: 'clerk', password_file: 'password' },
        more: { ...more, certificates },
        files,
      }),
    ]);
    const { objects, files: keys } = await tenants(cluster, 'first');
    succeeded(await cluster.cluster(['apply', 'FILE', '--wait', '--timeout', '30'], objects, keys));
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  const served = async (machine: Machine, name: string) =>
    (await machine.talk({ servername: `${name}.example.com` })).text;
  const becomesServed = async (name: string) => {
    const { objects, files } = await tenants(cluster, name);
    succeeded(await cluster.cluster(['apply', 'FILE', '--wait', '--timeout', '60'], objects, files));
    for (const machine of machines) assert.equal(await served(machine, name), 'ping');
  };

  test('an expired token is renewed', async () => {
    const [, two] = machines as [Machine, Machine];
    assert.equal(await served(two, 'first'), 'ping');
    await sleep((tokenTtl + 1) * 1000);
    await becomesServed('second');
    // Each stream is made anew, with a token that has died.
    for (const member of cluster.etcd.members) {
      await member.stop();
      await sleep((tokenTtl + 1) * 1000);
      await member.start();
    }
    await becomesServed('third');
    assert.equal((await two.status()).cluster.connected, true);
  });

  test('two leaders rotate once', async () => {
    const state = async () => Promise.all(machines.map((machine) => machine.status()));
    const leading = async () => (await state()).findIndex(({ cluster }) => cluster.leads);
    await eventually(async () => assert.notEqual(await leading(), -1), 30_000);
    const first = machines[await leading()] as Machine;
    const other = machines.find((machine) => machine !== first) as Machine;
    // Past its lease, of 15 s: another one leads, and rotates.
    first.penstock.child.kill('SIGSTOP');
    await eventually(async () => assert.equal((await other.status()).cluster.leads, true), 60_000);
    const { tickets } = (await other.status()).cluster;
    await eventually(
      async () =>
        assert.ok(((await other.status()).cluster.tickets?.generation ?? 0) > (tickets?.generation ?? 0)),
      30_000,
    );
    const history = watchRotations();
    first.penstock.child.kill('SIGCONT');
    await sleep(3 * rotate * 1000);
    const seen = await history();
    assert.ok(seen.length >= 2, `${seen.length} rotations`);
    for (const [index, { generation, rotated }] of seen.entries()) {
      const before = seen[index - 1];
      if (before === undefined) continue;
      assert.equal(generation, before.generation + 1);
      assert.ok(rotated - before.rotated >= rotate * 1000, `after ${rotated - before.rotated} ms`);
    }
    const leaders = (await state()).filter(({ cluster }) => cluster.leads);
    assert.equal(leaders.length, 1);
  });

  /** Every value that the shared masters take from now on, until it is asked for them. */
  function watchRotations() {
    const seen = new Map<number, { generation: number; rotated: number }>();
    let isOver = false;
    const watching = (async () => {
      while (!isOver) {
        const text = await cluster.etcd.ctl('get', `${root}tickets`, '--print-value-only');
        const { generation, rotated } = JSON.parse(text);
        const known = seen.get(generation);
        assert.ok(known === undefined || known.rotated === Date.parse(rotated), 'one generation, twice');
        seen.set(generation, { generation, rotated: Date.parse(rotated) });
        await sleep(100);
      }
    })();
    return async () => {
      isOver = true;
      await watching;
      return [...seen.values()];
    };
  }

  test('a restored backup is noticed, and served', async () => {
    const backup = join(cluster.directory, 'backup');
    await cluster.etcd.backUp(backup);
    for (const name of ['fourth', 'fifth']) await becomesServed(name);
    await cluster.etcd.ctl('del', `${root}config/routes/edge/first`);
    for (const member of cluster.etcd.members) await member.stop();
    for (const member of cluster.etcd.members) await member.restore(backup);
    await Promise.all(cluster.etcd.members.map((member) => member.start()));
    for (const machine of machines) {
      await eventually(async () => {
        const { connected, events_lost: lost } = (await machine.status()).cluster;
        // At once, and not when everything is compared, each minute.
        assert.deepEqual([connected, lost], [true, 0]);
        assert.equal(await served(machine, 'first'), 'ping');
        assert.equal(await served(machine, 'fourth'), '');
      }, 60_000);
    }
    // Its revisions count on from lower ones: later changes are seen, too.
    await becomesServed('sixth');
  });
});
