/**
 * The three recipes for PostgreSQL, from their files: what their pages have one type prints what they say, tenants reach their own
 * servers, and clients without the certificate that is asked for stay out.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pkiIssue } from '../../src/tools/pki/command.ts';
import { certificatesOf, makeCertificates, startRecipe } from '../support/recipes.ts';
import { type Postgres, psql, startPostgres } from './postgres.ts';
import { tryIt } from './recipe.ts';

test('the recipes for PostgreSQL', async (t) => {
  const { directory, plain, strict } = await startServers(t);
  const conninfo = (host: string, port: number, client?: string): string => {
    const name = client === undefined ? '/nonexistent' : join(directory, 'pki', client);
    return `host=${host} hostaddr=127.0.0.1 port=${port} user=app dbname=postgres sslmode=verify-full
      sslrootcert=${directory}/pki/ca.crt sslcert=${name}.crt sslkey=${name}.key connect_timeout=20`;
  };

  await t.test('mutual TLS', async (t) => {
    const proxy = await startRecipe(t, 'postgres-mutual-tls', directory, {
      '127.0.0.1:5432': `127.0.0.1:${plain.port}`,
    });
    const tried = await tryIt('postgres-mutual-tls', directory, { 'port=6432': `port=${proxy.port()}` });
    assert.equal(tried.stderr, '');
    assert.match(tried.stdout, /inside/);
    const none = await psql(conninfo('db.example.com', proxy.port()), ['-c', 'select 1']);
    assert.match(none.stderr, /certificate required|a client certificate is required/);
    const other = await psql(conninfo('db.example.com', proxy.port(), 'acme'), ['-c', 'select 1']);
    assert.equal(other.code, 2);
    await proxy.connectionLine((line) => line['code'] === 'ERR_CLIENT_CERT_NOT_ALLOWED');
  });

  await t.test('TLS on both sides: PostgreSQL sees the certificate of penstock', async (t) => {
    const proxy = await startRecipe(t, 'postgres-rewrap', directory, {
      '10.0.1.5:5432': `127.0.0.1:${strict.port}`,
    });
    const tried = await tryIt('postgres-rewrap', directory, { 'port=6432': `port=${proxy.port()}` });
    assert.equal(tried.stderr, '');
    assert.match(tried.stdout, /\/CN=penstock/);
    const guarded = conninfo('db.example.com', proxy.port(), 'orders').replace('user=app', 'user=guarded');
    const bound = await psql(`${guarded} channel_binding=require`, ['-c', 'select current_user'], {
      env: { PGPASSWORD: 'secret' },
    });
    assert.deepEqual(bound, { code: 0, stdout: 'guarded\n', stderr: '' });
  });

  await t.test('many tenants: by certificate, passed through, and found by name', async (t) => {
    const proxy = await startRecipe(t, 'postgres-tenants', directory, {
      '10.0.1.5:5432': `127.0.0.1:${plain.port}`,
      '10.0.1.6:5432': `127.0.0.1:${strict.port}`,
      '{sni.1}.tenants.internal:5432': `{sni.1}:${plain.port}`,
      '10.0.0.0/8': '127.0.0.0/8',
    });
    const port = proxy.port();
    const tried = await tryIt('postgres-tenants', directory, { 'port=6432': `port=${port}` });
    assert.equal(tried.stderr, '');
    assert.match(tried.stdout, /acme/);
    const whoIsSeen = ['-c', 'select client_dn from pg_stat_ssl where pid = pg_backend_pid()'];
    const globex = await psql(conninfo('globex.db.example.com', port, 'acme'), whoIsSeen);
    assert.deepEqual(globex, { code: 0, stdout: '/CN=acme\n', stderr: '' });
    const found = await psql(conninfo('localhost.db.example.com', port), ['-c', "select 'found'"]);
    assert.deepEqual(found, { code: 0, stdout: 'found\n', stderr: '' });
    const outside = await psql(conninfo('acme.db.example.com', port, 'orders'), ['-c', 'select 1']);
    assert.equal(outside.code, 2);
    await proxy.connectionLine((line) => line['code'] === 'ERR_CLIENT_CERT_NOT_ALLOWED');
  });
});

/** One server without TLS, one that demands certificates, and all that the pages have one make, of one CA. */
async function startServers(
  t: TestContext,
): Promise<{ directory: string; plain: Postgres; strict: Postgres }> {
  const directory = await certificatesOf(t, 'postgres-mutual-tls');
  const pki = join(directory, 'pki');
  // It stands for the tenant that is passed through, too.
  const quiet = { out: () => {}, err: () => {} };
  await makeCertificates('postgres-rewrap', directory);
  const names = { san: ['db.example.com', 'globex.db.example.com'], force: true };
  assert.equal(await pkiIssue(pki, 'db.example.com', names, quiet), 0);
  await makeCertificates('postgres-tenants', directory);
  const read = (name: string): string => readFileSync(join(pki, name), 'utf8');
  const tls = { cert: read('db.example.com.crt'), key: read('db.example.com.key'), ca: read('ca.crt') };
  const [plain, strict] = await Promise.all([startPostgres(t), startPostgres(t, tls)]);
  return { directory, plain, strict };
}
