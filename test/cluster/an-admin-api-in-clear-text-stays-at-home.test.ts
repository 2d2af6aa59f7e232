/**
 * Keys and private keys cross no network in clear text: the Admin API is off by default, needs TLS anywhere
 * but on this machine, and keys that are not everybody's.
 */
import assert from 'node:assert/strict';
import { request } from 'node:https';
import { join } from 'node:path';
import { test } from 'node:test';
import { stringify } from 'yaml';
import { ConfigError } from '../../src/config/finding.ts';
import { loadConfig } from '../../src/config/sources/file.ts';
import { adminKey, apiConfig, startApi } from '../support/admin-api.ts';
import { createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { http } from '../support/http.ts';
import { startPenstock } from '../support/penstock.ts';

const api = { bind: '127.0.0.1:0', keys: [{ file: 'admin.key' }], store: 'objects' };

test('what would give a key away is refused', async (t) => {
  const directory = temporaryDirectory(t);
  writeFiles(directory, {
    'admin.key': adminKey,
    'short.key': 'short\n',
    'published.key': 'edd1c9f034335f136f87ad84b625c8f1\n',
  });
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ admin_api: { ...api, bind: '0.0.0.0:9180' } }, /admin_api\.bind: keys would cross the network/],
    [{ admin_api: { ...api, bind: ':9180' } }, /admin_api\.bind: keys would cross the network/],
    [{ admin_api: { ...api, bind: 'admin.example:9180' } }, /admin_api\.bind: keys would cross the network/],
    [{ admin_api: { ...api, keys: [] } }, /admin_api\.keys: expected at least one key/],
    [{ admin_api: { ...api, keys: [{ file: 'short.key' }] } }, /fewer than 16 characters/],
    [{ admin_api: { ...api, keys: [{ file: 'published.key' }] } }, /everybody knows/],
    [{ admin_api: { ...api, keys: [{ file: 'none.key' }] } }, /does not exist/],
    [{ admin_api: { ...api, tls: { certificate: 'none' } } }, /no certificate is called "none"/],
    [{ admin_api: undefined }, /listeners\.tenants\.stream_routes: these routes come from the Admin API/],
    [
      { listeners: { one: { bind: '127.0.0.1:0', stream_routes: 'tls', routes: [{ deny: true }] } } },
      /listeners\.one\.routes: with `stream_routes`/,
    ],
    [{ listeners: { one: { bind: '127.0.0.1:0' } } }, /listeners\.one: `routes` is missing/],
  ];
  for (const [overrides, fault] of cases) {
    const file = join(directory, 'penstock.yaml');
    writeFiles(directory, { 'penstock.yaml': stringify(apiConfig({ admin_api: api, ...overrides })) });
    await assert.rejects(loadConfig(file), (error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(error.message, fault);
      assert.ok(!error.message.includes(adminKey));
      return true;
    });
  }
});

test('it is off by default', async (t) => {
  const listeners = { db: { bind: '127.0.0.1:0', routes: [{ deny: true }] } };
  const penstock = await startPenstock(t, { workers: 1, listeners });
  assert.equal(penstock.log().find(({ msg }) => msg === 'ready')?.['admin_api'], undefined);
});

test('on a unix socket it needs a key, too', async (t) => {
  const bind = `unix:${join(temporaryDirectory(t), 'admin.sock')}`;
  await startApi(t, apiConfig({ admin_api: { ...api, bind } }));
  assert.equal((await http(bind, '/apisix/admin/ssls')).status, 401);
  const answer = await http(bind, '/apisix/admin/ssls', { headers: { 'X-API-KEY': adminKey } });
  assert.equal(answer.status, 200);
});

test('over TLS it may require certificates of clients', async (t) => {
  const ca = await createAuthority();
  const server = await ca.issue({ ip: ['127.0.0.1'] });
  const client = await ca.issue({ dns: ['operator.example'] });
  const tls = { certificate: 'api', client_auth: { authority: 'operators' } };
  const config = apiConfig({
    admin_api: { ...api, tls },
    certificates: { api: { cert: 'api.crt', key: 'api.key' } },
    authorities: { operators: { ca: 'ca.crt' } },
  });
  const files = { 'api.crt': server.cert, 'api.key': server.key, 'ca.crt': ca.cert };
  const { penstock } = await startApi(t, config, { files });
  const address = String(penstock.log().find(({ msg }) => msg === 'ready')?.['admin_api']);
  const ask = (credential: object) =>
    new Promise<number | string>((resolve) => {
      const [host, port] = address.split(':');
      const headers = { 'X-API-KEY': adminKey };
      const options = { host, port, path: '/apisix/admin/ssls', ca: ca.cert, agent: false, headers };
      request({ ...options, ...credential }, ({ statusCode = 0 }) => resolve(statusCode))
        .once('error', () => resolve('refused'))
        .end();
    });
  assert.equal(await ask({ cert: client.cert, key: client.key }), 200);
  assert.equal(await ask({}), 'refused');
});
