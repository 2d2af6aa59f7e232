/** Methods, statuses and bodies of the Admin API, as APISIX's documentation has them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apiConfig, issueFor, sslOf, startApi } from '../support/admin-api.ts';

const nodes = { '127.0.0.1:1980': 1 };

test('the nodes of an upstream are added, weighed, removed and replaced', async (t) => {
  const { ask } = await startApi(t, apiConfig({ workers: 1 }));
  const created = await ask('PUT', 'upstreams/100', { type: 'roundrobin', nodes });
  assert.equal(created.status, 201);
  const steps: readonly (readonly [path: string, body: object, nodes: object])[] = [
    ['', { nodes: { '127.0.0.1:1981': 1 } }, { '127.0.0.1:1980': 1, '127.0.0.1:1981': 1 }],
    ['', { nodes: { '127.0.0.1:1981': 10 } }, { '127.0.0.1:1980': 1, '127.0.0.1:1981': 10 }],
    ['', { nodes: { '127.0.0.1:1980': null } }, { '127.0.0.1:1981': 10 }],
    ['/nodes', { '127.0.0.1:1982': 1 }, { '127.0.0.1:1982': 1 }],
  ];
  for (const [path, body, wanted] of steps) {
    const patched = await ask('PATCH', `upstreams/100${path}`, body);
    assert.equal(patched.status, 200);
    assert.deepEqual(patched.body.value['nodes'], wanted);
  }
  const { body } = await ask('GET', 'upstreams/100');
  assert.deepEqual(body.value['nodes'], { '127.0.0.1:1982': 1 });
  assert.equal(body.value.id, '100');
  assert.ok(body.modifiedIndex > body.createdIndex);
});

test('a service has an upstream that is patched; plugins of unused services do no harm', async (t) => {
  const { ask } = await startApi(t, apiConfig({ workers: 1 }));
  const plugins = { 'limit-count': { count: 2, time_window: 60, rejected_code: 503, key: 'remote_addr' } };
  const service = { plugins, enable_websocket: true, upstream: { type: 'roundrobin', nodes } };
  assert.equal((await ask('PUT', 'services/201', service)).status, 201);
  const patched = await ask('PATCH', 'services/201', { upstream: { nodes: { '127.0.0.1:1981': 1 } } });
  assert.equal(patched.status, 200);
  assert.equal(Object.keys(patched.body.value.upstream.nodes).length, 2);
  const replaced = await ask('PATCH', 'services/201/upstream/nodes', { '127.0.0.1:1982': 1 });
  assert.deepEqual(replaced.body.value.upstream.nodes, { '127.0.0.1:1982': 1 });
  const used = await ask('PUT', 'stream_routes/1', { service_id: 201 });
  assert.equal(used.status, 400);
  assert.match(used.body.error_msg, /services\/201.*limit-count/);
});

test('statuses and bodies', async (t) => {
  const { ask } = await startApi(t, apiConfig({ workers: 1 }));
  const route = { upstream: { nodes } };
  const posted = await ask('POST', 'stream_routes', route);
  assert.equal(posted.status, 201);
  assert.deepEqual(Object.keys(posted.body).sort(), ['key', 'value']);
  assert.match(posted.body.key, /^\/apisix\/stream_routes\/\d{20}$/);
  assert.equal(posted.headers['x-api-version'], 'v3');
  assert.equal((await ask('PUT', 'stream_routes/9', route)).status, 201);
  assert.equal((await ask('PUT', 'stream_routes/9', route)).status, 200);
  assert.equal((await ask('PUT', 'stream_routes', { id: 'own', ...route })).status, 201);

  const missing = await ask('GET', 'stream_routes/none');
  assert.deepEqual([missing.status, missing.body], [404, { message: 'Key not found' }]);
  assert.equal((await ask('DELETE', 'stream_routes/none')).status, 404);
  assert.equal((await ask('PATCH', 'upstreams/none', { desc: 'x' })).status, 404);
  const patched = await ask('PATCH', 'stream_routes/9', { desc: 'x' });
  assert.equal(patched.status, 405);
  assert.equal(typeof patched.body.error_msg, 'string');
  for (const [method, path, status] of [
    ['GET', 'routes', 404],
    ['PUT', 'consumers/1', 404],
    ['DELETE', 'ssls', 400],
    ['PATCH', 'ssls', 400],
    ['PUT', 'upstreams/1', 400],
    ['POST', 'upstreams/1', 400],
    ['GET', 'nothing', 404],
    ['PUT', 'stream_routes/1?ttl=5', 400],
    ['PUT', 'stream_routes/1?ttl=x', 400],
  ] as const) {
    const body = path.startsWith('stream_routes') || method === 'POST' ? route : undefined;
    assert.equal((await ask(method, path, body)).status, status, `${method} ${path}`);
  }
  assert.equal((await ask('PUT', 'stream_routes/1?ttl=0', route)).status, 201);
  // Whoever means a part gets, replaces or deletes no whole.
  for (const [method, body] of [['GET'], ['DELETE'], ['PUT', route]] as const)
    assert.equal((await ask(method, 'stream_routes/9/upstream', body)).status, 404, method);
  assert.equal((await ask('GET', 'stream_routes/9')).status, 200);
  // An id of digits that somebody has chosen is not given to another.
  const taken = Number((await ask('GET', 'stream_routes/1')).body.modifiedIndex) + 2;
  const chosen = String(taken).padStart(20, '0');
  assert.equal((await ask('PUT', `stream_routes/${chosen}`, { desc: 'mine', ...route })).status, 201);
  const next = await ask('POST', 'stream_routes', route);
  assert.equal(next.status, 201);
  assert.notEqual(next.body.value.id, chosen);
  assert.equal((await ask('GET', `stream_routes/${chosen}`)).body.value['desc'], 'mine');
  const long = await ask('PUT', 'stream_routes/1', JSON.stringify({ desc: 'x'.repeat(2_000_000) }));
  assert.equal(long.status, 400);
});

test('lists are filtered and come in pages', async (t) => {
  const { ask } = await startApi(t, apiConfig({ workers: 1 }));
  for (let index = 1; index <= 12; index++) {
    const labels = index % 2 === 0 ? { even: 'yes' } : {};
    await ask('PUT', `upstreams/${index}`, { name: `up-${index}`, labels, nodes });
  }
  await ask('PUT', 'stream_routes/a', { upstream_id: 3 });
  await ask('PUT', 'stream_routes/b', { upstream_id: '4' });
  const ids = async (query: string) => {
    const { body } = await ask('GET', query);
    return [body.total, body.list.map((one) => one.value.id).join(' ')];
  };
  assert.deepEqual(await ids('upstreams?page=2&page_size=10'), [12, '11 12']);
  assert.deepEqual(await ids('upstreams?name=up-1'), [4, '1 10 11 12']);
  assert.deepEqual(await ids('upstreams?label=even&name=up-1'), [2, '10 12']);
  assert.deepEqual(await ids('stream_routes?filter=upstream_id%3D3'), [1, 'a']);
  assert.equal((await ask('GET', 'upstreams?page=1&page_size=5')).status, 400);
});

test('configurations and schemas are checked without being stored', async (t) => {
  const { ask } = await startApi(t, apiConfig({ workers: 1 }));
  const ssl = sslOf(['a.example'], await issueFor(['a.example']));
  const whole = { ssls: [ssl], upstreams: [{ id: 1, nodes }], stream_routes: [{ upstream_id: 5 }] };
  const fine = await ask('POST', 'configs/validate', whole);
  assert.deepEqual([fine.status, fine.body], [200, {}]);
  const faulty = await ask('POST', 'configs/validate', {
    upstreams: [
      { id: 1, nodes },
      { id: 1, nodes },
      { id: 2, nodes: 5 },
    ],
    routes: [{ uri: '/' }],
  });
  assert.equal(faulty.status, 400);
  assert.deepEqual(
    faulty.body.errors.map((one) => [one.resource_type, one.resource_id, one.index]),
    [
      ['upstreams', '1', 1],
      ['upstreams', '2', 2],
      ['routes', '', 0],
    ],
  );
  assert.equal((await ask('POST', 'schema/validate/upstreams', { nodes })).status, 200);
  assert.equal((await ask('POST', 'schema/validate/upstreams', { nodes: 1 })).status, 400);
  assert.equal((await ask('GET', 'upstreams')).body.total, 0);
});
