/**
 * Three machines and a real etcd of three members with mutual TLS and access rules: what one command writes is live on all of them;
 * what is faulty is held back alone; whatever happens to etcd, nothing that serves changes.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { before, describe, test } from 'node:test';
import { tlsTalk } from '../support/clients.ts';
import {
  type Machine,
  root,
  startCluster,
  succeeded,
  type TestCluster,
  tenants,
} from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';

describe('machines serve what etcd holds', { timeout: 280_000 }, () => {
  let cluster: TestCluster;
  let machines: Machine[];
  const ends: (() => unknown)[] = [];
  before(async (t) => {
    void t;
    cluster = await startCluster({ after: (end) => void ends.push(end as () => unknown) });
    machines = await Promise.all(['one', 'two', 'three'].map((name) => cluster.machine(name)));
  });
  const each = async (check: (machine: Machine) => Promise<void>) => {
    await Promise.all(machines.map((machine) => eventually(() => check(machine), 15_000)));
  };
  const serves = async (machine: Machine, name: string) => {
    const talk = await machine.talk({ servername: `${name}.example.com` });
    assert.equal(talk.text, 'ping', `${machine.name} ${name}: ${talk.error}`);
    assert.ok(talk.authorized);
  };
  const put = (name: string, value: string) => cluster.etcd.ctl('put', `${root}config/${name}`, value);
  const textOf = async (name: string) =>
    (await cluster.etcd.ctl('get', `${root}config/${name}`, '--print-value-only')).trim();

  test('a change is live on every machine', async () => {
    const { objects, files } = await tenants(cluster, 'orders', 'billing');
    const stdout = succeeded(await cluster.cluster(['apply', 'FILE', '--wait'], objects, files));
    assert.match(stdout, /revision \d+ live on 3 of 3 machines after [\d.]+ s/);
    process.stdout.write(stdout);
    await each((machine) => serves(machine, 'orders'));
    assert.equal((await cluster.cluster(['diff', 'FILE'], objects, files)).code, 0);
    process.stdout.write(succeeded(await cluster.cluster(['status'])));
  });

  test('what is wrong is refused before it is written', async () => {
    const { objects, files } = await tenants(cluster, 'orders');
    const wrong = {
      ...objects,
      listeners: {
        edge: {
          routes: [{ name: 'x', sni: 'x.example.com', tls: { certificates: 'orders' }, upstream: 'nowhere' }],
        },
      },
    };
    const { code, stderr } = await cluster.cluster(['apply', 'FILE'], wrong, files);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /routes\/edge\/x.*no upstream is called "nowhere"/);
    assert.equal(await textOf('routes/edge/x'), '');
    const removed = await cluster.cluster(['delete', 'upstreams/echo']);
    assert.equal(removed.code, 2, removed.stdout);
    assert.match(removed.stderr, /it was deleted, but others refer to it/);
  });

  test('one bad certificate hurts no other, and its last valid version serves', async () => {
    const good = await textOf('certificates/orders');
    await put(
      'certificates/orders',
      JSON.stringify({ ...JSON.parse(good), cert: JSON.parse(await textOf('certificates/billing')).cert }),
    );
    await each(async (machine) => {
      const { cluster: seen } = await machine.status();
      assert.deepEqual(
        seen.held.map(({ object, serving }) => [object, serving]),
        [['certificates/orders', 'its earlier version']],
      );
    });
    await each((machine) => serves(machine, 'orders'));
    await each((machine) => serves(machine, 'billing'));
    await put('certificates/orders', good);
    await each(async (machine) => assert.deepEqual((await machine.status()).cluster.held, []));
  });

  test('a new machine finds the last valid version in the history of etcd', async () => {
    const good = await textOf('certificates/orders');
    await put('certificates/orders', '{"cert": "half of it"}');
    const fresh = await cluster.machine('fresh');
    await serves(fresh, 'orders');
    const { held } = (await fresh.status()).cluster;
    assert.deepEqual(
      held.map(({ object, serving }) => [object, serving]),
      [['certificates/orders', 'its earlier version']],
    );
    fresh.penstock.child.kill('SIGTERM');
    assert.equal(await fresh.penstock.exited, 0);
    await put('certificates/orders', good);
    await each(async (machine) => assert.deepEqual((await machine.status()).cluster.held, []));
  });

  test('a faulty route that never was valid refuses at its own place', async () => {
    await put(
      'routes/edge/any',
      JSON.stringify({ sni: '*.example.com', tls: { certificates: 'billing' }, upstream: 'echo' }),
    );
    await each((machine) => serves(machine, 'billing'));
    await put(
      'routes/edge/secret',
      JSON.stringify({ sni: 'secret.example.com', tls: { certificates: 'billing' }, upstream: 'gone' }),
    );
    await each(async (machine) => {
      assert.equal((await machine.talk({ servername: 'secret.example.com' })).error, 'ALERT 49');
      assert.ok(machine.penstock.log().some(({ code }) => code === 'ERR_CLUSTER_HELD'));
    });
    await cluster.etcd.ctl('del', `${root}config/routes/edge/secret`);
    await cluster.etcd.ctl('del', `${root}config/routes/edge/any`);
  });

  test('an author of etcd reads no file', async () => {
    const cases: [string, object][] = [
      ['certificates/x', { cert: '/etc/passwd', key: '/etc/passwd' }],
      ['authorities/x', { ca: '/etc/ssl/certs/ca-certificates.crt' }],
      ['upstreams/x', { endpoints: ['unix:/run/docker.sock'] }],
      ['upstreams/y', { endpoints: [`$${'{HOME}'}:1`] }],
      [
        'upstreams/z',
        {
          endpoints: ['127.0.0.1:1'],
          health_check: { type: 'expect', send: 'x', expect: 'y', address: 'unix:/run/docker.sock' },
        },
      ],
      ['listeners/x', { bind: 'unix:/tmp/x' }],
      [
        'routes/edge/x',
        {
          sni: 'x.example.com',
          tls: { certificates: 'orders', client_auth: { authorize: '/tmp/x.js' } },
          upstream: 'echo',
        },
      ],
    ];
    for (const [name, value] of cases) await put(name, JSON.stringify(value));
    await each(async (machine) => {
      const { held } = (await machine.status()).cluster;
      assert.deepEqual(held.map(({ object }) => object).sort(), cases.map(([name]) => name).sort());
    });
    for (const [name] of cases) await cluster.etcd.ctl('del', `${root}config/${name}`);
    await each(async (machine) => assert.deepEqual((await machine.status()).cluster.held, []));
  });

  test('nothing secret lies in etcd', async () => {
    const all = await cluster.etcd.ctl('get', '', '--prefix');
    assert.match(all, /BEGIN CERTIFICATE/);
    assert.doesNotMatch(all, /PRIVATE KEY/);
  });

  test('a session resumes on any machine', async () => {
    for (let rotation = 0; rotation < 3; rotation++) {
      await each(async (machine) => assert.ok((await machine.status()).cluster.tickets));
      for (const from of machines) {
        for (const to of machines) {
          const made = await from.talk({ servername: 'orders.example.com', version: 'TLSv1.3' });
          if (rotation > 0) assert.ok(made.session);
          const again = await to.talk({
            servername: 'orders.example.com',
            version: 'TLSv1.3',
            session: made.session,
          });
          assert.ok(again.resumed, `${from.name} → ${to.name}`);
        }
      }
      const old = await machines[0]!.talk({ servername: 'orders.example.com', version: 'TLSv1.3' });
      const { cluster: seen } = await machines[0]!.status();
      succeeded(await cluster.cluster(['rotate-tickets']));
      await each(async (machine) =>
        assert.ok((await machine.status()).cluster.tickets!.generation > seen.tickets!.generation),
      );
      for (const to of machines) {
        await eventually(async () => {
          const again = await to.talk({
            servername: 'orders.example.com',
            version: 'TLSv1.3',
            session: old.session,
          });
          assert.ok(again.resumed, `after a rotation → ${to.name}`);
        });
      }
    }
  });

  test('an emptied prefix is held', async () => {
    const kept = await Promise.all(
      [
        'certificates/orders',
        'certificates/billing',
        'upstreams/echo',
        'routes/edge/orders',
        'routes/edge/billing',
      ].map(async (name) => [name, await textOf(name)] as const),
    );
    await cluster.etcd.ctl('del', `${root}config/`, '--prefix');
    await each(async (machine) =>
      assert.match((await machine.status()).cluster.alarm ?? '', /there were 5 objects, and now there are 0/),
    );
    await each((machine) => serves(machine, 'orders'));
    for (const [name, value] of kept) await put(name, value);
    await each(async (machine) => assert.equal((await machine.status()).cluster.alarm, null));
    await each((machine) => serves(machine, 'orders'));
  });

  test('a listener that cannot be bound is held back alone, and served once it can be', async (t) => {
    const taken = createServer().listen(0, '127.0.0.1');
    t.after(() => taken.close());
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    await put('listeners/extra', JSON.stringify({ bind: `127.0.0.1:${port}` }));
    await put(
      'routes/extra/orders',
      JSON.stringify({ sni: 'orders.example.com', tls: { certificates: 'orders' }, upstream: 'echo' }),
    );
    const holdsIt = async (machine: Machine) => {
      const { held } = (await machine.status()).cluster;
      const extra = held.find(({ object }) => object === 'listeners/extra');
      assert.match(String(extra?.faults), /listeners\/extra.* bind: 127\.0\.0\.1:\d+ is already in use/);
    };
    await each(holdsIt);
    // Later changes are served all the same, and a start does not fail.
    const { objects, files } = await tenants(cluster, 'orders', 'billing', 'beside');
    succeeded(await cluster.cluster(['apply', 'FILE', '--wait', '--timeout', '30'], objects, files));
    await each((machine) => serves(machine, 'beside'));
    const [one] = machines as [Machine];
    one.penstock.child.kill('SIGTERM');
    await one.penstock.exited;
    machines[0] = await cluster.machine('one');
    await holdsIt(machines[0]);
    await serves(machines[0], 'beside');
    taken.close();
    // On one computer only one of the three gets it.
    await eventually(async () => {
      const seen = await Promise.all(machines.map((machine) => machine.status()));
      const held = seen.filter(({ cluster }) =>
        cluster.held.some(({ object }) => object === 'listeners/extra'),
      );
      assert.equal(held.length, 2);
    }, 30_000);
    const talk = await tlsTalk(port, { servername: 'orders.example.com', ca: cluster.authority.cert });
    assert.equal(talk.text, 'ping');
    succeeded(await cluster.cluster(['delete', 'routes/extra/orders', 'listeners/extra', '--wait']));
    await each(async (machine) => assert.deepEqual((await machine.status()).cluster.held, []));
  });

  test('whatever was served when it stopped, a machine starts with it without etcd', async () => {
    for (const name of ['quick', 'quicker']) {
      const route = { sni: `${name}.example.com`, tls: { certificates: 'orders' }, upstream: 'echo' };
      await put(`routes/edge/${name}`, JSON.stringify(route));
      await eventually(async () => {
        assert.equal((await machines[2]!.talk({ servername: `${name}.example.com` })).text, 'ping');
      }, 15_000);
    }
    // The snapshot of the second is not due yet.
    machines[2]!.penstock.child.kill('SIGTERM');
    assert.equal(await machines[2]!.penstock.exited, 0);
    for (const member of cluster.etcd.members) await member.stop();
    machines[2] = await cluster.machine('three');
    assert.equal((await machines[2].talk({ servername: 'quicker.example.com' })).text, 'ping');
    assert.equal((await machines[2].status()).cluster.source, 'snapshot');
    await Promise.all(cluster.etcd.members.map((member) => member.start()));
    await each(async (machine) => assert.equal((await machine.status()).cluster.connected, true));
  });

  test('no quorum changes nothing that serves, and a restart without etcd serves the same', async () => {
    for (const member of cluster.etcd.members) await member.stop();
    await each(async (machine) => assert.equal((await machine.status()).cluster.connected, false));
    await each(async (machine) => assert.equal((await machine.status()).ready, true));
    for (let round = 0; round < 50; round++) await each((machine) => serves(machine, 'orders'));
    const three = machines[2]!;
    const session = (await machines[0]!.talk({ servername: 'orders.example.com' })).session;
    three.penstock.child.kill('SIGTERM');
    assert.equal(await three.penstock.exited, 0);
    machines[2] = await cluster.machine('three');
    await serves(machines[2], 'orders');
    assert.equal((await machines[2].status()).cluster.source, 'snapshot');
    assert.ok((await machines[2].talk({ servername: 'orders.example.com', session })).resumed);
    await Promise.all(cluster.etcd.members.map((member) => member.start()));
    await each(async (machine) => assert.equal((await machine.status()).cluster.connected, true));
    const { objects, files } = await tenants(cluster, 'later');
    process.stdout.write(
      succeeded(await cluster.cluster(['apply', 'FILE', '--wait', '--timeout', '30'], objects, files)),
    );
    await each((machine) => serves(machine, 'later'));
  });

  test('stops', async () => {
    for (const { penstock } of machines) penstock.child.kill('SIGTERM');
    for (const { penstock } of machines) assert.equal(await penstock.exited, 0);
    for (const end of ends) await end();
  });
});
