/**
 * The Admin API refuses what cannot be served before it is stored, and says where it is wrong; a stored
 * object that turns out to be faulty refuses its own clients, and no others.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { apiConfig, issueFor, namedUpstream, restart, sslOf, startApi } from '../support/admin-api.ts';
import { createAuthority } from '../support/certificates.ts';
import { tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { penstockCommand } from '../support/penstock-command.ts';

const nodes = { '127.0.0.1:1': 1 };

test('a faulty object is refused with its key, place and remedy, and not stored', async (t) => {
  const { penstock, ask } = await startApi(t, apiConfig({ workers: 1 }));
  const [credential, other] = [await issueFor(['a.example']), await issueFor(['b.example'])];
  const good = sslOf(['a.example'], credential);
  const cases: readonly (readonly [path: string, body: unknown, error: RegExp])[] = [
    [
      'ssls/1',
      { ...good, key: other.key },
      /^invalid configuration: \/apisix\/ssls\/1: key: it is not the key/,
    ],
    ['ssls/1', { ...good, cert: `-----BEGIN ${'x'.repeat(128)}` }, /cert: it cannot be parsed/],
    ['ssls/1', { ...good, key: '$env://KEY' }, /ssls\/1: key: /],
    ['ssls/1', { ...good, snis: undefined }, /exactly one of sni and snis/],
    ['ssls/1', { ...good, certs: [credential.cert] }, /as many keys as certs/],
    ['ssls/1', { ...good, validity_end: 1 }, /there is no "validity_end" here/],
    ['upstreams/1', { nodes, type: 'roundrobin', nodez: {} }, /upstreams\/1: there is no "nodez" here/],
    ['upstreams/1', { nodes: { 'a:1': -1 } }, /upstreams\/1: nodes/],
    ['upstreams/1', {}, /expected nodes, or service_name and discovery_type/],
    [
      'stream_routes/1',
      { upstream_id: 7 },
      /stream_routes\/1: upstream_id: there is no upstream 7; create it first/,
    ],
    ['stream_routes/1', { service_id: 'x' }, /service_id: there is no service x/],
    ['stream_routes/1', { sni: 'a.example', upstream: { nodes: { 'no-port': 1 } } }, /upstream\.nodes/],
    [
      'stream_routes/1',
      { upstream: { nodes }, plugins: { 'limit-count': {} } },
      /plugins\.limit-count: .*does not know it/,
    ],
    ['stream_routes/1', { upstream: { nodes }, remote_addr: 'here' }, /remote_addr.*here/],
    ['stream_routes/1', { upstream: { discovery_type: 'eureka', service_name: 'a' } }, /discovery/],
    ['stream_routes/1', { upstream: { nodes }, create_time: 1 }, /the property is forbidden: create_time/],
    ['stream_routes/1', '{"sni": ', /the body is not JSON/],
    ['stream_routes/1', '[]', /expected a JSON object/],
    ['stream_routes/1', { id: 2, upstream: { nodes } }, /wrong stream route id/],
    ['stream_routes/a b', { upstream: { nodes } }, /an id has/],
    ['stream_routes/1', '['.repeat(500) + ']'.repeat(500), /nested/],
  ];
  for (const [path, body, error] of cases) {
    const answer = await ask('PUT', encodeURI(path), body);
    assert.equal(answer.status, 400, `${path} ${JSON.stringify(body)}`);
    assert.match(answer.body.error_msg, error);
  }
  for (const kind of ['ssls', 'upstreams', 'stream_routes']) {
    assert.deepEqual((await ask('GET', kind)).body, { total: 0, list: [] });
    assert.deepEqual(readdirSync(join(penstock.directory, 'objects', kind)), []);
  }
  assert.ok(!penstock.stdout().includes('PRIVATE KEY'));
});

test('a change that breaks what refers to it is refused; force makes it refuse clients', async (t) => {
  const { penstock, ask } = await startApi(t);
  const address = await namedUpstream(t, 'served');
  await ask('PUT', 'ssls/1', sslOf(['*.example'], await issueFor(['*.example'])));
  await ask('PUT', 'upstreams/1', { nodes: { [address]: 1 } });
  await ask('PUT', 'stream_routes/wide', { sni: '*.example', upstream: { nodes: { [address]: 1 } } });
  await ask('PUT', 'stream_routes/1', { sni: 'a.example', upstream_id: 1 });

  const emptied = await ask('PUT', 'upstreams/1', { nodes: {} });
  assert.equal(emptied.status, 400);
  assert.match(emptied.body.error_msg, /\/apisix\/upstreams\/1.*no nodes/);
  const refused = await ask('DELETE', 'upstreams/1');
  assert.equal(refused.status, 400);
  assert.match(refused.body.error_msg, /stream route \[1\]/);
  assert.equal((await ask('DELETE', 'upstreams/1?force=anything')).status, 400);
  const talk = () => tlsTalk(penstock.port('tenants'), { servername: 'a.example' }, '');
  assert.equal((await talk()).text, 'served');

  assert.equal((await ask('DELETE', 'upstreams/1?force=true')).status, 200);
  // Not the less specific route.
  assert.equal((await talk()).error, 'ALERT 49');
  assert.equal((await tlsTalk(penstock.port('tenants'), { servername: 'b.example' }, '')).text, 'served');
});

test('an object made faulty on disk refuses its clients and nobody else', async (t) => {
  const { penstock, ask } = await startApi(t);
  const ca = await createAuthority();
  const other = await issueFor(['other.example']);
  for (const name of ['a.example', 'b.example']) {
    await ask('PUT', `ssls/${name}`, sslOf([name], await issueFor([name], ca)));
    const upstream = { nodes: { [await namedUpstream(t, name)]: 1 } };
    await ask('PUT', `stream_routes/${name}`, { sni: name, upstream });
  }
  penstock.child.kill('SIGKILL');
  await penstock.exited;
  const file = join(penstock.directory, 'objects/ssls/a.example.json');
  const object = JSON.parse(readFileSync(file, 'utf8'));
  writeFileSync(file, JSON.stringify({ ...object, value: { ...object.value, key: other.key } }));

  const again = await restart(t, penstock);
  const port = again.penstock.port('tenants');
  assert.match((await tlsTalk(port, { servername: 'a.example' }, '')).error ?? '', /ALERT/);
  assert.equal((await tlsTalk(port, { servername: 'b.example' }, '')).text, 'b.example');
  assert.match(again.penstock.stdout(), /\/apisix\/ssls\/a\.example/);
});

test('the log tells a route that is held back from one that denies', async (t) => {
  const { penstock, ask } = await startApi(t);
  const nodes = { [await namedUpstream(t, 'served')]: 1 };
  await ask('PUT', 'ssls/1', sslOf(['*.example'], await issueFor(['*.example'])));
  const restriction = { 'ip-restriction': { blacklist: ['127.0.0.0/8'] } };
  await ask('PUT', 'stream_routes/denied', {
    sni: 'denied.example',
    upstream: { nodes },
    plugins: restriction,
  });
  await ask('PUT', 'upstreams/1', { nodes });
  await ask('PUT', 'stream_routes/held', { sni: 'held.example', upstream_id: 1 });
  await ask('DELETE', 'upstreams/1?force=true');
  for (const [name, code] of [
    ['denied.example', 'ERR_ROUTE_DENIED'],
    ['held.example', 'ERR_CLUSTER_HELD'],
  ]) {
    assert.equal((await tlsTalk(penstock.port('tenants'), { servername: name }, '')).error, 'ALERT 49');
    await eventually(() => {
      const line = penstock.log().find(({ msg, sni }) => msg === 'connection' && sni === name);
      assert.equal(line?.['code'], code);
    });
  }
});

test('private keys are never returned', async (t) => {
  const { ask } = await startApi(t, apiConfig({ workers: 1 }));
  const { cert, key } = await issueFor(['a.example']);
  const inline = { scheme: 'tls', nodes, tls: { client_cert: cert, client_key: key } };
  const ssl = sslOf(['a.example'], { cert, key, chain: '' } as never, { certs: [], keys: [] });
  const answers = [
    await ask('PUT', 'ssls/1', ssl),
    await ask('PATCH', 'ssls/1', { desc: 'x', key }),
    await ask('PATCH', 'ssls/1/key', JSON.stringify(key)),
    await ask('GET', 'ssls/1'),
    await ask('GET', 'ssls'),
    await ask('PUT', 'upstreams/1', inline),
    await ask('GET', 'upstreams/1'),
    await ask('PUT', 'services/1', { upstream: inline }),
    await ask('GET', 'services'),
    await ask('PUT', 'stream_routes/1', { upstream: inline }),
    await ask('GET', 'stream_routes'),
    await ask('POST', 'configs/validate', { ssls: [{ ...ssl, key: cert }] }),
  ];
  for (const { status, body } of answers) {
    assert.ok(status < 300 || body.errors, JSON.stringify(body));
    assert.doesNotMatch(JSON.stringify(body), /PRIVATE KEY|"key":"-/);
  }
});

test('a store that cannot be written changes nothing; one that cannot be read ends the start', async (t) => {
  const { penstock, ask } = await startApi(t, apiConfig({ workers: 1 }));
  const folder = join(penstock.directory, 'objects/upstreams');
  rmSync(folder, { recursive: true });
  writeFileSync(folder, '');
  const refused = await ask('PUT', 'upstreams/1', { nodes });
  assert.equal(refused.status, 503);
  assert.match(
    refused.body.error_msg,
    /^ERR_STORE: .*objects\/upstreams\/1\.json cannot be written \(ENOTDIR\)/,
  );
  assert.equal((await ask('GET', 'upstreams')).body.total, 0);
  assert.equal((await ask('PUT', 'services/1', { upstream: { nodes } })).status, 201);

  penstock.child.kill('SIGKILL');
  await penstock.exited;
  rmSync(folder);
  writeFileSync(join(penstock.directory, 'objects/services/1.json'), '{');
  const ended = await penstockCommand(['run', '-c', join(penstock.directory, 'penstock.yaml')]);
  assert.equal(ended.code, 2);
  assert.match(ended.stderr, /objects\/services\/1\.json holds no object of penstock/);
});
