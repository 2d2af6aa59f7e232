/**
 * `layout: apisix`: penstock beside APISIX at the same etcd, whose objects it reads and never writes. It serves
 * stream routes with their upstreams and certificates, encrypted keys included; what it cannot carry over, or
 * what is faulty, refuses its clients; a prefix that is suddenly empty changes nothing; without etcd it
 * starts from its snapshot.
 */
import assert from 'node:assert/strict';
import { createCipheriv, randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { issueFor, namedUpstream, restart } from '../support/admin-api.ts';
import { tlsTalk } from '../support/clients.ts';
import { startEtcd, type TestEtcd } from '../support/etcd.ts';
import { eventually } from '../support/eventually.ts';
import { http } from '../support/http.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';

const keyring = ['0123456789abcdef', 'fedcba98765432100123456789abcdef'];

/** As APISIX does it: AES-CBC, whose initialization vector is the key itself. */
function encrypted(text: string, key: string): string {
  const cipher = createCipheriv(`aes-${key.length * 8}-cbc`, key, key.slice(0, 16));
  return Buffer.concat([cipher.update(text), cipher.final()]).toString('base64');
}

async function served(penstock: Penstock, servername: string): Promise<string> {
  const { text, error } = await tlsTalk(penstock.port('tenants'), { servername }, '');
  return text === '' ? `refused: ${error}` : text;
}

async function status(penstock: Penstock) {
  const admin = String(penstock.log().find(({ msg }) => msg === 'ready')?.['admin']);
  const { cluster } = JSON.parse((await http(admin, '/status')).body);
  return cluster as { source: string; held: { object: string; serving: string }[]; alarm: string | null };
}

describe('an etcd of APISIX', { timeout: 280_000 }, () => {
  let etcd: TestEtcd;
  let penstock: Penstock;
  const ends: (() => unknown)[] = [];
  const t = { after: (end: unknown) => void ends.push(end as () => unknown) };
  const put = (key: string, value: object | string) =>
    etcd.ctl('put', `/apisix/${key}`, typeof value === 'string' ? value : JSON.stringify(value));
  const servedSoon = (name: string, wanted: string | RegExp) =>
    eventually(async () => assert.match(await served(penstock, name), new RegExp(wanted)), 10_000);

  before(async () => {
    etcd = await startEtcd(t);
    const user = await etcd.user('reader', ['read', '/apisix/']);
    for (const directory of ['ssls', 'stream_routes', 'upstreams', 'services'])
      await put(`${directory}/`, 'init_dir');
    await addTenant('a.example', keyring[0] ?? '');
    await addTenant('b.example', keyring[1] ?? '');
    penstock = await startPenstock(
      t,
      {
        workers: 2,
        admin: { bind: '127.0.0.1:0' },
        cluster: {
          name: 'edge',
          etcd: {
            endpoints: etcd.endpoints,
            authority: 'etcd',
            certificate: 'reader',
            layout: 'apisix',
            keyring: 'keyring',
          },
          seal: 'cluster.key',
          snapshot: 'cluster.snapshot',
        },
        authorities: { etcd: { ca: 'ca.crt' } },
        certificates: { reader: { cert: 'reader.crt', key: 'reader.key' } },
        listeners: { tenants: { bind: '127.0.0.1:0', stream_routes: 'tls' } },
      },
      {
        files: {
          'ca.crt': etcd.authority.cert,
          'reader.crt': user.cert,
          'reader.key': user.key,
          'cluster.key': randomBytes(32).toString('hex'),
          keyring: keyring.join('\n'),
        },
      },
    );
  });

  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  async function addTenant(name: string, key: string, rest: object = {}): Promise<void> {
    const credential = await issueFor([name]);
    const ssl = {
      id: name,
      snis: [name],
      cert: credential.chain || credential.cert,
      status: 1,
      create_time: 1,
      update_time: 1,
    };
    await put(`ssls/${name}`, { ...ssl, key: encrypted(credential.key, key) });
    const nodes = { [await namedUpstream(t, `upstream of ${name}`)]: 1 };
    await put(`upstreams/${name}`, { id: name, nodes, type: 'roundrobin', create_time: 1, update_time: 1 });
    await put(`stream_routes/${name}`, {
      id: name,
      sni: name,
      upstream_id: name,
      create_time: 1,
      update_time: 1,
      ...rest,
    });
  }

  test('is served as it is, keys of both lengths opened', async () => {
    assert.equal(await served(penstock, 'a.example'), 'upstream of a.example');
    assert.equal(await served(penstock, 'b.example'), 'upstream of b.example');
    assert.match(await served(penstock, 'none.example'), /^refused/);
    assert.equal((await status(penstock)).source, 'etcd');
  });

  test('is followed', async () => {
    await addTenant('c.example', keyring[0] ?? '');
    await servedSoon('c.example', 'upstream of c.example');
    await etcd.ctl('del', '/apisix/stream_routes/c.example');
    await servedSoon('c.example', /^refused/);
  });

  test('what cannot be carried over refuses its clients; what became faulty serves as before', async () => {
    await addTenant('d.example', keyring[0] ?? '');
    await servedSoon('d.example', 'upstream of d.example');
    await addTenant('e.example', keyring[0] ?? '', { plugins: { 'some-plugin': {} } });
    await servedSoon('e.example', /^refused/);
    // Encrypted by nobody's key.
    const { cert, key } = await issueFor(['d.example']);
    await put('ssls/d.example', {
      id: 'd.example',
      snis: ['d.example'],
      cert,
      key: encrypted(key, 'another 16 bytes'),
    });
    await eventually(async () => {
      const { held } = await status(penstock);
      const serving = new Map(held.map((one) => [one.object, one.serving]));
      assert.equal(serving.get('/apisix/ssls/d.example'), 'its earlier version', JSON.stringify(held));
      assert.equal(serving.has('/apisix/stream_routes/e.example'), true);
    }, 10_000);
    assert.equal(await served(penstock, 'd.example'), 'upstream of d.example');
    assert.doesNotMatch(penstock.stdout(), /PRIVATE KEY/);
  });

  test('an object that is none serves as before, and one that nothing can follow hurts no other', async () => {
    await put('stream_routes/c2', { sni: '*.example', upstream: { nodes: { '127.0.0.1:1': 1 } } });
    await put('stream_routes/d.example', 'half an ob');
    await eventually(async () => {
      const { held } = await status(penstock);
      const serving = new Map(held.map((one) => [one.object, one.serving]));
      assert.equal(
        serving.get('/apisix/stream_routes/d.example'),
        'its earlier version',
        JSON.stringify(held),
      );
    }, 10_000);
    assert.equal(await served(penstock, 'd.example'), 'upstream of d.example');
    await etcd.ctl('del', '/apisix/stream_routes/c2');
    await put('stream_routes/deep', `{"plugins":{"x":${'['.repeat(20_000)}${']'.repeat(20_000)}}}`);
    await addTenant('f.example', keyring[0] ?? '');
    await servedSoon('f.example', 'upstream of f.example');
    const { held } = await status(penstock);
    assert.ok(
      held.some(({ object }) => object === '/apisix/stream_routes/deep'),
      JSON.stringify(held),
    );
    await etcd.ctl('del', '/apisix/stream_routes/deep');
  });

  test('suddenly empty, it changes nothing until somebody asks for a reload', async () => {
    await etcd.ctl('del', '--prefix', '/apisix/');
    await eventually(
      async () => assert.match((await status(penstock)).alarm ?? '', /there were \d+ objects/),
      10_000,
    );
    assert.equal(await served(penstock, 'a.example'), 'upstream of a.example');
    await addTenant('a.example', keyring[0] ?? '');
    penstock.child.kill('SIGHUP');
    await servedSoon('b.example', /^refused/);
    await servedSoon('a.example', 'upstream of a.example');
  });

  test('without etcd it starts from its snapshot', async () => {
    for (const member of etcd.members) await member.stop();
    penstock.child.kill('SIGKILL');
    await penstock.exited;
    const again = await restart(t, penstock);
    assert.equal(await served(again.penstock, 'a.example'), 'upstream of a.example');
    assert.equal((await status(again.penstock)).source, 'snapshot');
    again.penstock.child.kill('SIGKILL');
    await again.penstock.exited;
  });
});
