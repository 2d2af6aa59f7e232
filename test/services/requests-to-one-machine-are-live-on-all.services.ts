/**
 * An Admin API that keeps its objects in etcd: what is asked of one machine is served by all, the answer
 * comes once the machine that was asked serves it, keys lie in etcd encrypted as APISIX does it, and of two
 * who change the same object at once, neither overwrites what the other has not seen.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { type Api, adminKey, issueFor, namedUpstream, sslOf, startApi } from '../support/admin-api.ts';
import { tlsTalk } from '../support/clients.ts';
import { startEtcd, type TestEtcd } from '../support/etcd.ts';
import { eventually } from '../support/eventually.ts';

describe('an Admin API on etcd', { timeout: 280_000 }, () => {
  let etcd: TestEtcd;
  let one: Api;
  let other: Api;
  const ends: (() => unknown)[] = [];
  const t = { after: (end: unknown) => void ends.push(end as () => unknown) };
  const served = async ({ penstock }: Api, servername: string) => {
    const { text, error } = await tlsTalk(penstock.port('tenants'), { servername }, '');
    return text === '' ? `refused: ${error}` : text;
  };

  before(async () => {
    etcd = await startEtcd(t);
    const user = await etcd.user('machine', ['readwrite', '/apisix/']);
    const files = {
      'ca.crt': etcd.authority.cert,
      'machine.crt': user.cert,
      'machine.key': user.key,
      'cluster.key': randomBytes(32).toString('hex'),
    };
    const start = (machine: string) =>
      startApi(
        t,
        {
          workers: 1,
          admin_api: { bind: '127.0.0.1:0', keys: [{ file: 'admin.key' }] },
          cluster: {
            name: 'edge',
            machine,
            etcd: {
              endpoints: etcd.endpoints,
              authority: 'etcd',
              certificate: 'machine',
              layout: 'apisix',
            },
            seal: 'cluster.key',
            snapshot: 'cluster.snapshot',
          },
          authorities: { etcd: { ca: 'ca.crt' } },
          certificates: { machine: { cert: 'machine.crt', key: 'machine.key' } },
          listeners: { tenants: { bind: '127.0.0.1:0', stream_routes: 'tls' } },
        },
        { files },
      );
    [one, other] = await Promise.all([start('one'), start('two')]);
  });

  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  test('what is asked of one is served by all', async () => {
    const nodes = { [await namedUpstream(t, 'served')]: 1 };
    const ssl = sslOf(['a.example'], await issueFor(['a.example']));
    assert.equal((await one.ask('PUT', 'ssls/1', ssl)).status, 201);
    assert.equal((await one.ask('PUT', 'upstreams/1', { nodes, type: 'roundrobin' })).status, 201);
    const route = await one.ask('PUT', 'stream_routes/1', { sni: 'a.example', upstream_id: 1 });
    assert.equal(route.status, 201, JSON.stringify(route.body));
    // The answer says that the machine that was asked serves it.
    assert.equal(await served(one, 'a.example'), 'served');
    await eventually(async () => assert.equal(await served(other, 'a.example'), 'served'), 10_000);
    const list = await other.ask('GET', 'stream_routes');
    assert.equal(list.body.total, 1);
    assert.equal(list.body.list[0]?.value.id, '1');
  });

  test('keys lie in etcd as APISIX encrypts them, and never come back', async () => {
    const inside = JSON.parse(await etcd.ctl('get', '/apisix/ssls/1', '--print-value-only'));
    assert.match(inside.key, /^[A-Za-z0-9+/]+=*$/);
    assert.match(inside.cert, /BEGIN CERTIFICATE/);
    assert.equal((await other.ask('GET', 'ssls/1')).body.value['key'], undefined);
  });

  test('a change of another author is seen, and a faulty one is refused before it is written', async () => {
    const nodes = { [await namedUpstream(t, 'moved')]: 1 };
    assert.equal((await other.ask('PATCH', 'upstreams/1/nodes', nodes)).status, 200);
    assert.equal(await served(other, 'a.example'), 'moved');
    await eventually(async () => assert.equal(await served(one, 'a.example'), 'moved'), 10_000);
    const faulty = await other.ask('PUT', 'stream_routes/2', { sni: 'b.example', upstream_id: 9 });
    assert.equal(faulty.status, 400);
    assert.equal(await etcd.ctl('get', '/apisix/stream_routes/2'), '');
  });

  test('of two at once, each is made or says that it was not', async () => {
    const asked = [...Array(10).keys()].map(async (index) => {
      const { status } = await (index % 2 === 0 ? one : other).ask('PATCH', 'upstreams/1', {
        labels: { [`by-${index}`]: 'x' },
      });
      assert.ok(status === 200 || status === 409, `${status}`);
      return status === 200 ? [`by-${index}`] : [];
    });
    const made = (await Promise.all(asked)).flat();
    const { labels } = JSON.parse(await etcd.ctl('get', '/apisix/upstreams/1', '--print-value-only'));
    assert.deepEqual(Object.keys(labels).sort(), made.sort());
    assert.ok(made.length > 0);
  });

  test('it is deleted everywhere; without etcd nothing can be changed, and all is served', async () => {
    assert.equal((await one.ask('DELETE', 'stream_routes/1')).status, 200);
    assert.match(await served(one, 'a.example'), /^refused/);
    await eventually(async () => assert.match(await served(other, 'a.example'), /^refused/), 10_000);
    assert.equal((await one.ask('PUT', 'stream_routes/1', { sni: 'a.example', upstream_id: 1 })).status, 201);
    for (const member of etcd.members) await member.stop();
    const lost = await one.ask('PUT', 'stream_routes/1', { sni: 'b.example', upstream_id: 1 }, adminKey);
    assert.equal(lost.status, 503);
    assert.match(lost.body.error_msg, /^ERR_CLUSTER: /);
    assert.equal(await served(one, 'a.example'), 'moved');
  });
});
