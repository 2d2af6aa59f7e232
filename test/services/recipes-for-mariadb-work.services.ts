/**
 * The recipe for MariaDB, from its files and by what its page has one type: behind mutual TLS, reached over its unix socket, it knows the
 * client's address; whoever has no certificate, or no TLS, reads why. Clients without TLS get there through a second penstock.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { makeCertificates, startRecipe } from '../support/recipes.ts';
import { startMariadb } from './mariadb.ts';
import { run } from './process.ts';
import { tryIt } from './recipe.ts';

test('MariaDB behind mutual TLS, and a client without any', async (t) => {
  const { socket, query } = await startMariadb(t);
  await query("create user app@'127.0.0.1'");
  const directory = temporaryDirectory(t);
  await makeCertificates('mariadb', directory);
  const server = await startRecipe(t, 'mariadb', directory, {
    'unix:/run/mysqld/mysqld.sock': `unix:${socket}`,
  });
  // The name is that of another machine.
  const here = {
    '--host=db.example.com': '--host=127.0.0.1',
    '--port=3306': `--port=${server.port()}`,
    '--ssl-verify-server-cert': '--skip-ssl-verify-server-cert',
  };
  const tried = await tryIt('mariadb', directory, here);
  assert.equal(tried.stderr, '');
  assert.match(tried.stdout, /inside/);
  const line = await server.connectionLine((line) => line['client_cert'] !== undefined);
  assert.equal((line['client_cert'] as { subject: string }).subject, 'CN=app-1');

  const whence = "select host from information_schema.processlist where user = 'app'";
  const seen = await tryIt('mariadb', directory, { ...here, "select 'inside'": whence });
  const told = /127\.0\.0\.1:\d+/.exec(seen.stdout)?.[0];
  await server.connectionLine((line) => line['client'] === told);

  const pair = '\\\n  --ssl-cert=pki/app-1.crt --ssl-key=pki/app-1.key ';
  const without = await tryIt('mariadb', directory, { ...here, [pair]: '' });
  assert.match(without.stderr, /ERROR 2026 .*certificate required/);
  const plain = ['--host=127.0.0.1', '--skip-ssl', '--user=app', "--execute=select 'inside'"];
  const refused = await run('mariadb', ['--no-defaults', `--port=${server.port()}`, ...plain]);
  assert.match(refused.stderr, /ERROR 3159/);

  const client = await startRecipe(t, 'mariadb-client', directory, {
    'db.example.com:3306': `127.0.0.1:${server.port()}`,
  });
  const through = await run('mariadb', ['--no-defaults', `--port=${client.port()}`, ...plain]);
  assert.equal(through.stderr, '');
  assert.match(through.stdout, /inside/);
});
