/**
 * The Admin API: a tenant appears, changes and vanishes by requests, for clients that connect right after the
 * answer, in every worker, without a reload by hand; what was stored is served after a crash, too.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  adminKey,
  apiConfig,
  issueFor,
  namedUpstream,
  restart,
  sslOf,
  startApi,
  viewerKey,
} from '../support/admin-api.ts';
import { tlsTalk } from '../support/clients.ts';
import type { Penstock } from '../support/penstock.ts';
import { exchange } from '../support/proxy.ts';

/** What a client of this name gets, from several connections, so that every worker is asked. */
async function served(penstock: Penstock, servername: string): Promise<string> {
  const port = penstock.port('tenants');
  const talks = await Promise.all(Array.from({ length: 6 }, () => tlsTalk(port, { servername }, '')));
  const seen = new Set(talks.map(({ text, error }) => (text === '' ? `refused: ${error}` : text)));
  return [...seen].join(', ');
}

const unrecognized = 'refused: ALERT 112';

test('a tenant appears, changes and vanishes', async (t) => {
  const { penstock, ask } = await startApi(t);
  const [first, second] = [await namedUpstream(t, 'first'), await namedUpstream(t, 'second')];
  const credential = await issueFor(['a.example']);
  assert.equal(await served(penstock, 'a.example'), 'refused: ALERT 49');

  const ssl = await ask('PUT', 'ssls/1', sslOf(['a.example'], credential));
  assert.equal(ssl.status, 201);
  assert.equal(ssl.body.key, '/apisix/ssls/1');
  assert.deepEqual(ssl.body.value['snis'], ['a.example']);
  const route = await ask('PUT', 'stream_routes/1', {
    sni: 'a.example',
    upstream: { nodes: { [first]: 1 } },
  });
  assert.equal(route.status, 201);
  assert.equal(await served(penstock, 'a.example'), 'first');
  assert.equal(await served(penstock, 'b.example'), unrecognized);

  const upstream = await ask('PUT', 'upstreams/up', { nodes: { [second]: 1 }, type: 'roundrobin' });
  assert.equal(upstream.status, 201);
  const changed = await ask('PUT', 'stream_routes/1', { sni: 'a.example', upstream_id: 'up' });
  assert.equal(changed.status, 200);
  assert.equal(await served(penstock, 'a.example'), 'second');

  const patched = await ask('PATCH', 'upstreams/up/nodes', { [first]: 1 });
  assert.equal(patched.status, 200);
  assert.deepEqual(patched.body.value['nodes'], { [first]: 1 });
  assert.equal(await served(penstock, 'a.example'), 'first');

  const deleted = await ask('DELETE', 'stream_routes/1');
  assert.equal(deleted.status, 200);
  assert.deepEqual(deleted.body, { deleted: '1', key: '/apisix/stream_routes/1' });
  assert.notEqual(await served(penstock, 'a.example'), 'first');
  assert.match(await served(penstock, 'a.example'), /^refused/);
});

test('a plain listener serves routes, by address', async (t) => {
  const { penstock, ask } = await startApi(t);
  const address = await namedUpstream(t, 'plainly');
  await ask('POST', 'stream_routes', { remote_addr: '10.0.0.0/8', upstream: { nodes: { [address]: 1 } } });
  const talk = async () => String((await exchange(penstock.port('plain'), '')).received);
  assert.equal(await talk(), '');
  const all = await ask('PUT', 'stream_routes/all', {
    upstream: { nodes: [{ ...nodeOf(address), weight: 1 }] },
  });
  assert.equal(all.status, 201);
  assert.equal(await talk(), 'plainly');
});

function nodeOf(address: string) {
  const [host, port] = address.split(':');
  return { host, port: Number(port) };
}

test('killed at any time, it starts again with what was stored, in files that only its user can read', async (t) => {
  const { penstock, ask } = await startApi(t);
  await addTenant(t, ask, 'a.example', '1');
  assert.equal(await served(penstock, 'a.example'), 'tenant 1');
  const before = (await ask('GET', 'stream_routes')).body;
  const file = join(penstock.directory, 'objects/ssls/1.json');
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.match(readFileSync(file, 'utf8'), /PRIVATE KEY/);

  // Half a write that a crash left behind.
  writeFileSync(join(penstock.directory, 'objects/ssls/1.json.new'), '{"format":1,');
  penstock.child.kill('SIGKILL');
  await penstock.exited;
  const again = await restart(t, penstock);
  assert.equal(await served(again.penstock, 'a.example'), 'tenant 1');
  assert.deepEqual((await again.ask('GET', 'stream_routes')).body, before);
  assert.ok(!readdirSync(join(penstock.directory, 'objects/ssls')).includes('1.json.new'));
});

test('requests at the same time are all served', async (t) => {
  const { penstock, ask } = await startApi(t);
  const tenants = Array.from({ length: 12 }, (_, index) => `t${index}.example`);
  await ask('PUT', 'ssls/1', sslOf(['*.example'], await issueFor(['*.example'])));
  const answers = await Promise.all(
    tenants.map(async (sni) => {
      const upstream = { nodes: { [await namedUpstream(t, sni)]: 1 } };
      return ask('PUT', `stream_routes/${sni}`, { sni, upstream });
    }),
  );
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([201]));
  for (const sni of tenants) assert.equal(await served(penstock, sni), sni);
  assert.equal((await ask('GET', 'stream_routes')).body.total, tenants.length);
});

test('what the file says is served beside it, and reloaded beside it', async (t) => {
  const own = await namedUpstream(t, 'of the file');
  const config = apiConfig() as { listeners: object };
  const upstreams = { 'route-1': { endpoints: [own] } };
  const listeners = {
    ...config.listeners,
    own: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'route-1' }] },
  };
  const { penstock, ask } = await startApi(t, { ...config, listeners, upstreams });
  await addTenant(t, ask, 'a.example', '1');
  penstock.child.kill('SIGHUP');
  await ask('PUT', 'upstreams/any', { nodes: { '127.0.0.1:1': 1 } });
  assert.equal(await served(penstock, 'a.example'), 'tenant 1');
});

test('keys decide who may do what', async (t) => {
  const { penstock, ask } = await startApi(t, apiConfig({ workers: 1 }));
  for (const key of ['', 'wrong', `${adminKey}x`]) {
    const { status, body } = await ask('GET', 'ssls', undefined, key);
    assert.equal(status, 401);
    assert.deepEqual(Object.keys(body), ['error_msg', 'description']);
  }
  assert.equal((await ask('GET', 'upstreams', undefined, viewerKey)).status, 200);
  for (const method of ['PUT', 'PATCH', 'DELETE', 'POST']) {
    const { status, body } = await ask(
      method,
      'upstreams/1',
      method === 'DELETE' ? undefined : { nodes: { 'a:1': 1 } },
      viewerKey,
    );
    assert.equal(status, 401);
    assert.match(body.description, /viewer/);
  }
  assert.equal((await ask('GET', 'upstreams')).body.total, 0);
  const logged = penstock.stdout();
  assert.match(logged, /refused a key/);
  for (const secret of [adminKey, viewerKey]) assert.ok(!logged.includes(secret));
});

async function addTenant(
  t: TestContext,
  ask: Awaited<ReturnType<typeof startApi>>['ask'],
  sni: string,
  id: string,
): Promise<void> {
  const nodes = { [await namedUpstream(t, `tenant ${id}`)]: 1 };
  assert.equal((await ask('PUT', `ssls/${id}`, sslOf([sni], await issueFor([sni])))).status, 201);
  assert.equal((await ask('PUT', `stream_routes/${id}`, { sni, upstream: { nodes } })).status, 201);
}
