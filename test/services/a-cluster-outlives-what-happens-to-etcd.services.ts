/**
 * A user with a password whose tokens die within seconds follows etcd all the same, and so does one whose
 * certificate or password is replaced; of two machines that each believe that they lead, one rotates, and of
 * two of one name one counts; and a backup that was restored without higher revisions is noticed, and served.
 */
import assert from 'node:assert/strict';
import { randomBytes, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEtcd, type Etcd } from '../../src/cluster/etcd/etcd.ts';
import { put, remove } from '../../src/cluster/etcd/messages.ts';
import { follow } from '../../src/cluster/follow.ts';
import { keysOf } from '../../src/cluster/keys.ts';
import { createMember } from '../../src/cluster/member.ts';
import { createSeal } from '../../src/cluster/seal.ts';
import { configSchema } from '../../src/config/schema/schema.ts';
import { writeFiles } from '../support/certificates.ts';
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
  /** It has the name of another. */
  let twin: Machine;
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
    twin = await cluster.machine('one', { more });
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

  test('a renewed certificate is used without a restart, and a revoked member is not', async () => {
    const [rightless, good] = [await cluster.etcd.user('rightless'), await cluster.etcd.user('late')];
    await cluster.etcd.ctl('user', 'grant-role', 'late', 'machine');
    const server = new X509Certificate(cluster.etcd.serverCertificate);
    const crl = (serials: string[]) =>
      cluster.etcd.authority.crl(serials, { nextUpdate: new Date('2040-01-01') });
    const more = { authorities: { etcd: { ca: 'etcd.crt', crl: 'etcd.crl' } } };
    const machine = await cluster.machine('three', {
      more,
      files: {
        'machine.crt': rightless.cert,
        'machine.key': rightless.key,
        'etcd.crl': await crl([server.serialNumber]),
      },
    });
    const becomes = (fault: RegExp | null) =>
      eventually(async () => {
        const { cluster: seen } = await machine.status();
        if (fault === null) assert.equal(seen.connected, true, String(seen.fault));
        else assert.match(String(seen.fault), fault);
      }, 30_000);
    await becomes(/revoked/);
    const { directory } = machine.penstock;
    writeFiles(directory, { 'etcd.crl': await crl([]) });
    await becomes(/permission denied/);
    writeFiles(directory, { 'machine.crt': good.cert, 'machine.key': good.key });
    await becomes(null);
    await eventually(async () => assert.equal(await served(machine, 'first'), 'ping'), 15_000);
    machine.penstock.child.kill('SIGTERM');
    await machine.penstock.exited;
  });

  test('what others write into its keys ends nothing', async () => {
    for (const value of ['null', '{}', '{"held": [1]}', 'x'])
      await cluster.etcd.ctl('put', `${root}machines/rogue`, value);
    const tickets = (await cluster.etcd.ctl('get', `${root}tickets`, '--print-value-only')).trim();
    const later = JSON.stringify({ ...JSON.parse(tickets), rotated: 'soon' });
    await cluster.etcd.ctl('put', `${root}tickets`, later);
    for (const machine of machines) {
      await eventually(async () => assert.equal((await machine.status()).cluster.connected, true));
      assert.notEqual((await machine.status()).cluster.tickets, null);
    }
    await cluster.etcd.ctl('put', `${root}tickets`, tickets);
    await cluster.etcd.ctl('del', `${root}machines/rogue`);
    succeeded(await cluster.cluster(['status']));
  });

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

  test('a new certificate or password is used at once', async () => {
    const nobody = await cluster.etcd.user('outsider');
    const own = await cluster.etcd.authority.issue({ cn: 'machine', usage: 'client' });
    const outsider = { 'machine.crt': nobody.cert, 'machine.key': nobody.key };
    const [byCertificate, byPassword] = await Promise.all([
      cluster.machine('late', { files: outsider }),
      cluster.machine('later', {
        etcd: { user: 'clerk', password_file: 'password' },
        files: { ...outsider, password: 'let me out\n' },
      }),
    ]);
    for (const { cluster } of [await byCertificate.status(), await byPassword.status()]) {
      assert.deepEqual([cluster.connected, cluster.source], [false, 'none']);
    }
    writeFiles(byCertificate.penstock.directory, { 'machine.crt': own.cert, 'machine.key': own.key });
    writeFiles(byPassword.penstock.directory, { password: 'let me in\n' });
    byPassword.penstock.child.kill('SIGHUP');
    for (const machine of [byCertificate, byPassword]) {
      await eventually(async () => assert.equal(await served(machine, 'first'), 'ping'), 20_000);
      machine.penstock.child.kill('SIGTERM');
      await machine.penstock.exited;
    }
  });

  test('of two machines of one name one counts, and the other serves', async () => {
    const isTold = ({ penstock }: Machine) =>
      penstock.log().some(({ msg }) => msg.startsWith('another machine has the same name'));
    await eventually(() => assert.equal(isTold(twin), true), 60_000);
    assert.equal(isTold(machines[0] as Machine), false);
    assert.equal(await served(twin, 'first'), 'ping');
    assert.equal((await twin.status()).cluster.leads, false);
    const names = succeeded(await cluster.cluster(['status'])).match(/^(one|two) /gm);
    assert.deepEqual(names, ['one ', 'two ']);
    // Its name is free, and it takes its place.
    machines[0]?.penstock.child.kill('SIGTERM');
    await machines[0]?.penstock.exited;
    machines[0] = twin;
    await becomesServed('seventh');
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

  test('a leader that was paused before it wrote changes nothing', async () => {
    const keys = keysOf({ prefix: '/penstock', name: 'paused' });
    const user = await cluster.etcd.user('paused', ['readwrite', '/penstock/']);
    const { endpoints, authority } = cluster.etcd;
    const etcd = createEtcd({ endpoints, ca: [authority.cert], certificate: user });
    const outcomes: boolean[] = [];
    const slow: Etcd = {
      ...etcd,
      async txn(compares, operations) {
        const isRotation = operations.some(
          ({ message: { request } }) =>
            request?.case === 'requestPut' && String(Buffer.from(request.value.key ?? [])) === keys.tickets,
        );
        // It has seen that it leads; and now another one does.
        if (isRotation) await etcd.txn([], [remove(keys.leader)]);
        if (isRotation) await etcd.txn([], [put(keys.leader, 'another')]);
        const result = await etcd.txn(compares, operations);
        if (isRotation) outcomes.push(result.succeeded);
        return result;
      },
    };
    const { cluster: config } = configSchema.parse({
      listeners: { edge: { bind: '127.0.0.1:0', routes: [{ deny: true }] } },
      cluster: { name: 'paused', etcd: { endpoints }, seal: 'cluster.key' },
    });
    assert.ok(config);
    const parts = { config, machine: 'one', etcd: slow, keys, seal: createSeal([randomBytes(32)]) };
    const member = createMember(parts, {
      copy: () => follower.copy(),
      rotateEvery: () => 0,
      tickets: undefined,
      onTickets: () => {},
    });
    const follower = follow(slow, keys.root, {
      onChange: (changed) => member.changed(changed),
      onConnected: (fault) => member.connected(fault),
      onEventsLost: () => {},
    });
    await eventually(() => assert.ok(outcomes.length > 0), 20_000);
    assert.equal(outcomes[0], false);
    assert.equal((await etcd.get(keys.tickets)).entry, undefined);
    follower.close();
    await member.close();
    etcd.close();
  });

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
