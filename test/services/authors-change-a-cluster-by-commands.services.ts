/**
 * `penstock cluster` on a real etcd: what there is can be read, a change of any size is seen whole by every
 * client, `--prune` deletes what a file no longer has, a secret is replaced without a gap, and a state from
 * which most objects are gone waits until somebody accepts it.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse } from 'yaml';
import { openCluster } from '../../src/cluster/connect.ts';
import { createEtcd, type Etcd } from '../../src/cluster/etcd/etcd.ts';
import { put, remove } from '../../src/cluster/etcd/messages.ts';
import { type Keys, keysOf } from '../../src/cluster/keys.ts';
import type { ClusterConfig } from '../../src/config/schema/schema.ts';
import { loadConfig } from '../../src/config/sources/file.ts';
import { readPresent } from '../../src/tools/cluster/session.ts';
import { write } from '../../src/tools/cluster/write.ts';
import {
  type Machine,
  root,
  startCluster,
  succeeded,
  type TestCluster,
  tenants,
} from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { penstockMain } from '../support/penstock.ts';
import { tcpUpstream } from '../support/upstream.ts';
import { launch, run } from './process.ts';

/** More than etcd takes in one transaction. */
const many = 300;

describe('authors change a cluster by commands', { timeout: 280_000 }, () => {
  let cluster: TestCluster;
  let machines: Machine[];
  const ends: (() => unknown)[] = [];
  const t = { after: (end: unknown) => void ends.push(end as () => unknown) };

  before(async () => {
    cluster = await startCluster(t);
    machines = await Promise.all(['one', 'two'].map((name) => cluster.machine(name)));
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  const each = async (check: (machine: Machine) => Promise<void>) => {
    await Promise.all(machines.map((machine) => eventually(() => check(machine), 30_000)));
  };
  const answerOf = async (machine: Machine, name: string) => {
    const { text, error } = await machine.talk({ servername: `${name}.example.com` });
    return text === '' ? `refused: ${error}` : text;
  };
  const namesOf = async () =>
    succeeded(await cluster.cluster(['get']))
      .split('\n')
      .slice(1)
      .flatMap((line) => line.split(/\s+/)[0] || []);

  test('what there is can be read', async () => {
    const { objects, files } = await tenants(cluster, 'orders');
    succeeded(await cluster.cluster(['apply', 'FILE', '--wait', '--timeout', '30'], objects, files));
    assert.deepEqual(await namesOf(), ['certificates/orders', 'routes/edge/orders', 'upstreams/echo']);
    const route = parse(succeeded(await cluster.cluster(['get', 'routes/edge/orders'])));
    assert.deepEqual(route.sni, 'orders.example.com');
    const certificate = parse(succeeded(await cluster.cluster(['get', 'certificates/orders'])));
    assert.equal(typeof certificate.key.sealed, 'string');
    const missing = await cluster.cluster(['get', 'routes/edge/none']);
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /there is no routes\/edge\/none/);
    const typo = await cluster.cluster(['delete', 'routes/edge/orders', 'routes/edge/none']);
    assert.deepEqual([typo.code, typo.stdout], [1, '']);
    assert.match(typo.stderr, /there is no routes\/edge\/none; nothing was written/);
    await cluster.etcd.ctl('put', `${root}config/upstreams/broken`, 'endpoints: [');
    assert.equal(succeeded(await cluster.cluster(['get', 'upstreams/broken'])), 'endpoints: [\n');
    await cluster.etcd.ctl('del', `${root}config/upstreams/broken`);
    const latest = await cluster.cluster(['accept', 'latest']);
    assert.deepEqual([latest.code, /expected a number/.test(latest.stderr)], [2, true], latest.stderr);
  });

  test('check and explain see what is stored', async () => {
    const file = join(cluster.directory, 'author.yaml');
    const penstock = (...args: readonly string[]) =>
      run(process.execPath, [penstockMain, ...args, '-c', file, '--stored'], {});
    const checked = await penstock('check');
    assert.equal(checked.code, 0, checked.stderr);
    assert.match(checked.stdout, /orders\.example\.com/);
    const explained = await penstock('explain', '--sni', 'orders.example.com');
    assert.match(explained.stdout, /orders/);
    assert.match(explained.stdout, /echo/);
    await cluster.etcd.ctl(
      'put',
      `${root}config/routes/edge/odd`,
      '{"sni": "odd.example.com", "upstream": "none"}',
    );
    const strict = await penstock('check', '--strict');
    assert.equal(strict.code, 1);
    assert.match(strict.stderr, /routes\/edge\/odd.*warning: held back: /);
    assert.match((await penstock('explain', '--sni', 'odd.example.com')).stdout, /ERR_CLUSTER_HELD/);
    await cluster.etcd.ctl('del', `${root}config/routes/edge/odd`);
  });

  test('a change of any size is seen whole', async () => {
    const [a, b] = await Promise.all(
      ['a', 'b'].map((answer) => tcpUpstream(t, (socket) => void socket.resume().end(answer))),
    );
    const { objects, files } = await tenants(cluster, 'orders');
    const change = (port: number | undefined) => ({
      ...objects,
      upstreams: Object.fromEntries(
        [...Array(many).keys()].map((index) => [`up-${index}`, { endpoints: [`127.0.0.1:${port}`] }]),
      ),
      listeners: {
        edge: {
          routes: [...Array(many).keys()].map((index) => ({
            name: `bulk-${index}`,
            sni: `bulk-${index}.example.com`,
            tls: { certificates: 'orders' },
            upstream: `up-${index}`,
          })),
        },
      },
    });
    succeeded(await cluster.cluster(['apply', 'FILE', '--wait', '--timeout', '60'], change(a?.port), files));
    await each(async (machine) => assert.equal(await answerOf(machine, 'bulk-299'), 'a'));
    const seen = machines.map(() => [] as string[]);
    let isOver = false;
    const readers = machines.map(async (machine, index) => {
      for (let at = 0; !isOver; at = (at + 97) % many)
        seen[index]?.push(await answerOf(machine, `bulk-${at}`));
    });
    const applied = await cluster.cluster(
      ['apply', 'FILE', '--wait', '--timeout', '60'],
      change(b?.port),
      files,
    );
    isOver = true;
    await Promise.all(readers);
    process.stdout.write(succeeded(applied).split('\n').slice(-2).join('\n'));
    for (const answers of seen) {
      // One after another: once one route is the new one, all are.
      assert.match(answers.join(''), /^a+b*$/);
      assert.ok(answers.length > 10, `${answers.length}`);
    }
    await each(async (machine) => assert.equal(await answerOf(machine, 'bulk-1'), 'b'));
    assert.equal(await cluster.etcd.ctl('get', `${root}hold`), '');

    // However long it takes its author: longer than changes are collected.
    const half = (name: string) =>
      cluster.etcd.ctl('put', `${root}config/upstreams/${name}`, `{"endpoints": ["127.0.0.1:${a?.port}"]}`);
    await cluster.etcd.ctl('put', `${root}hold`, 'by hand');
    await half('up-0');
    await sleep(600);
    for (const machine of machines) assert.equal(await answerOf(machine, 'bulk-0'), 'b');
    await half('up-1');
    await cluster.etcd.ctl('del', `${root}hold`);
    await each(async (machine) => {
      const both = await Promise.all([answerOf(machine, 'bulk-0'), answerOf(machine, 'bulk-1')]);
      assert.deepEqual(both, ['a', 'a']);
    });
  });

  test('of two authors, none overwrites what the other has not seen', async () => {
    const keys = keysOf({ prefix: '/penstock', name: 'authors' });
    const { etcd } = await openAuthor(keys);
    const seen = { revision: 0, objects: new Map(), hasFormat: false, isHeld: false };
    const author = { etcd, keys };
    const few = new Map([['upstreams/a', '{"by": "the first"}']]);
    const lots = new Map([...Array(many).keys()].map((index) => [`upstreams/up-${index}`, '{}']));
    const revision = await write(author, seen, few);
    assert.ok(revision);
    // Both have seen nothing, and there is something now, be it another object.
    for (const change of [few, lots, new Map([['upstreams/b', '{}']])]) {
      assert.equal(await write(author, seen, change), undefined);
    }
    const now = {
      revision,
      objects: new Map([['upstreams/a', { text: '', revision }]]),
      hasFormat: true,
      isHeld: false,
    };
    // Nothing tells of deletions but the object itself.
    await etcd.txn([], [remove(`${keys.config}upstreams/a`)]);
    assert.equal(await write(author, now, few), undefined);
    // A change of several transactions is under way.
    await etcd.txn([], [put(keys.hold, 'another')]);
    assert.equal(await write(author, now, lots), undefined);
    assert.equal((await etcd.range(keys.config)).entries.length, 0);
  });

  test('an author who took too long stops, and says so', async () => {
    const keys = keysOf({ prefix: '/penstock', name: 'late' });
    const { etcd } = await openAuthor(keys);
    let written = 0;
    const slow: Etcd = {
      ...etcd,
      async txn(...all) {
        written += 1;
        // The hold, a part; and then its lease ends, and another author has one.
        if (written === 3) {
          await etcd.txn([], [remove(keys.hold)]);
          await etcd.txn([], [put(keys.hold, 'another')]);
        }
        return etcd.txn(...all);
      },
    };
    const lots = new Map([...Array(many).keys()].map((index) => [`upstreams/up-${index}`, '{}']));
    const change = write(
      { etcd: slow, keys },
      { revision: 0, objects: new Map(), hasFormat: false, isHeld: false },
      lots,
    );
    await assert.rejects(change, /the lease of the hold ended: part of the change is written/);
    assert.equal((await etcd.range(keys.config)).entries.length, 100);
    assert.equal(String((await etcd.get(keys.hold)).entry?.value), 'another');
  });

  test('what etcd cannot take at once is refused by name', async () => {
    const list = 'x'.repeat(1_600_000);
    const objects = { authorities: { big: { ca: 'big.crt' } } };
    const { code, stderr } = await cluster.cluster(['apply', 'FILE'], objects, {
      'big.crt': `${cluster.authority.cert}\n# ${list}\n`,
    });
    assert.equal(code, 1, stderr);
    assert.match(stderr, /authorities\/big has 1\.6 MB, and etcd takes 1\.5 MB at once: nothing was written/);
  });

  async function openAuthor(keys: Keys): Promise<{ etcd: Etcd }> {
    const { endpoints, authority, user } = cluster.etcd;
    const { cert, key } = await user(keys.root.replace(/\W/g, ''), ['readwrite', keys.root]);
    const etcd = createEtcd({ endpoints, ca: [authority.cert], certificate: { cert, key } });
    t.after(() => etcd.close());
    return { etcd };
  }

  test('nobody writes into the change of another', async () => {
    const { objects, files } = await tenants(cluster, 'orders', 'meanwhile');
    await cluster.etcd.ctl('put', `${root}hold`, 'by hand');
    assert.match(succeeded(await cluster.cluster(['status'])), /a change is under way/);
    const loaded = await loadConfig(join(cluster.directory, 'author.yaml'));
    const author = await openCluster(loaded, loaded.config.cluster as ClusterConfig);
    try {
      const present = { ...(await readPresent(author)), isHeld: false };
      const change = new Map([['upstreams/meanwhile', '{"endpoints": ["127.0.0.1:1"]}']]);
      assert.equal(await write(author, present, change), undefined);
    } finally {
      author.etcd.close();
    }
    // Writes the files.
    assert.equal((await cluster.cluster(['diff', 'FILE'], objects, files)).code, 1);
    const [file, config] = ['objects.yaml', 'author.yaml'].map((name) => join(cluster.directory, name));
    const words = ['cluster', 'apply', file ?? '', '-c', config ?? '', '--wait', '--timeout', '30'];
    const applying = launch(process.execPath, [penstockMain, ...words]);
    await eventually(() => assert.match(applying.output(), /another change is under way: waiting/), 30_000);
    assert.doesNotMatch(await cluster.etcd.ctl('get', '--prefix', `${root}config/`), /meanwhile/);
    await cluster.etcd.ctl('del', `${root}hold`);
    await applying.finished;
    assert.match(applying.output(), /live on 2 of 2 machines/);
    await each(async (machine) => assert.equal(await answerOf(machine, 'meanwhile'), 'ping'));
  });

  test('a directory or a section without objects deletes nothing', async () => {
    const empty = join(cluster.directory, 'empty');
    mkdirSync(empty);
    const none = await cluster.cluster(['apply', empty, '--prune']);
    assert.deepEqual([none.code, none.stdout], [2, '']);
    assert.match(none.stderr, /empty: it has no \.yaml/);
    const list = await cluster.cluster(['apply', 'FILE'], { upstreams: [{ name: 'x' }] });
    assert.equal(list.code, 2);
    assert.match(list.stderr, /upstreams: expected a mapping/);
  });

  test('what a file no longer has is deleted with --prune only', async () => {
    const { objects, files } = await tenants(cluster, 'orders', 'billing');
    const kept = succeeded(
      await cluster.cluster(['apply', 'FILE', '--wait', '--timeout', '60'], objects, files),
    );
    assert.doesNotMatch(kept, /^- /m);
    const pruned = succeeded(
      await cluster.cluster(['apply', 'FILE', '--prune', '--wait', '--timeout', '60'], objects, files),
    );
    assert.match(pruned, /^- upstreams\/up-299$/m);
    assert.deepEqual(await namesOf(), [
      ...['certificates/billing', 'certificates/orders'],
      ...['routes/edge/billing', 'routes/edge/orders', 'upstreams/echo'],
    ]);
    // Most objects are gone, and no alarm is raised: whoever deletes by command means it.
    for (const machine of machines) assert.equal((await machine.status()).cluster.alarm, null);
    await each(async (machine) => assert.match(await answerOf(machine, 'bulk-1'), /^refused/));
    await each(async (machine) => assert.equal(await answerOf(machine, 'billing'), 'ping'));
  });

  test('a secret is replaced without a gap', async () => {
    const secrets = join(cluster.directory, 'cluster.key');
    const old = readFileSync(secrets, 'utf8');
    const later = randomBytes(32).toString('hex');
    const both = `${later}\n${old}\n`;
    writeFileSync(secrets, both);
    const restarted = async (index: number, secret: string) => {
      const machine = machines[index] as Machine;
      machine.penstock.child.kill('SIGTERM');
      await machine.penstock.exited;
      machines[index] = await cluster.machine(machine.name, { files: { 'cluster.key': secret } });
    };
    /** Replaces the secrets of a running machine; resolves with what it says of them. */
    const reloaded = async (index: number, secret: string) => {
      const { penstock } = machines[index] as Machine;
      const outcomes = () => penstock.log().filter(({ msg }) => /^reload(ed$| failed)/.test(msg));
      const before = outcomes().length;
      writeFileSync(join(penstock.directory, 'cluster.key'), secret);
      penstock.child.kill('SIGHUP');
      await eventually(() => assert.equal(outcomes().length, before + 1), 20_000);
      return outcomes().at(-1);
    };
    await restarted(0, both);
    assert.equal((await reloaded(1, both))?.msg, 'reloaded');
    const sealed = succeeded(await cluster.cluster(['seal', '--wait', '--timeout', '30']));
    assert.match(sealed, /^\+ certificates\/billing$/m);
    assert.match(succeeded(await cluster.cluster(['seal'])), /nothing to change/);
    for (let rotation = 0; rotation < 3; rotation++) succeeded(await cluster.cluster(['rotate-tickets']));
    // Without the one that has sealed what is served, nothing changes.
    const refused = await reloaded(1, randomBytes(32).toString('hex'));
    assert.match(
      String(refused?.['faults']),
      /certificates\/billing\S* key: the key cannot be opened: none of the secrets/,
    );
    assert.equal(await answerOf(machines[1] as Machine, 'orders'), 'ping');
    assert.equal((await reloaded(1, later))?.msg, 'reloaded');
    writeFileSync(secrets, later);
    await restarted(0, later);
    const { objects, files } = await tenants(cluster, 'fresh');
    succeeded(await cluster.cluster(['apply', 'FILE', '--wait', '--timeout', '30'], objects, files));
    await each(async (machine) => assert.equal(await answerOf(machine, 'fresh'), 'ping'));
    assert.equal(await answerOf(machines[0] as Machine, 'orders'), 'ping');
    const { cluster: seen } = await (machines[0] as Machine).status();
    assert.deepEqual([seen.held, seen.tickets !== null], [[], true]);
  });

  test('a state without most objects waits until it is accepted', async () => {
    await cluster.etcd.ctl('del', `${root}config/`, '--prefix');
    await each(async (machine) => assert.ok((await machine.status()).cluster.alarm));
    await each(async (machine) => assert.equal(await answerOf(machine, 'orders'), 'ping'));
    const told = await cluster.cluster(['status']);
    assert.equal(told.code, 1);
    const [, revision = ''] = /revision (\d+) is not served: there were/.exec(told.stdout) ?? [];
    // Etcd cannot tell it of deletions; machines know that this is not the state that was meant.
    succeeded(await cluster.cluster(['accept', String(Number(revision) - 1)]));
    await each(async (machine) => assert.ok((await machine.status()).cluster.alarm));
    succeeded(await cluster.cluster(['accept', revision]));
    await each(async (machine) => assert.match(await answerOf(machine, 'orders'), /^refused/));
    await each(async (machine) => assert.equal((await machine.status()).cluster.alarm, null));
  });
});
