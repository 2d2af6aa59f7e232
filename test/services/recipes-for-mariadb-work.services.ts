/**
 * The two recipes for MariaDB, one at each end of the tunnel, from their files and by what their page has one type; the server
 * is told of the client's address.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { certificatesOf, startRecipe } from '../support/recipes.ts';
import { startMariadb } from './mariadb.ts';
import { tryIt } from './recipe.ts';

test('a client without TLS reaches MariaDB through two penstocks', async (t) => {
  const { port, query } = await startMariadb(t);
  await query("create user app@'127.0.0.1'");
  const directory = await certificatesOf(t, 'mariadb');
  const server = await startRecipe(t, 'mariadb', directory, { '127.0.0.1:3306': `127.0.0.1:${port}` });
  const client = await startRecipe(t, 'mariadb-client', directory, {
    'db.example.com:3307': `127.0.0.1:${server.port()}`,
  });
  const here = { '--port=3306': `--port=${client.port()}` };
  const tried = await tryIt('mariadb', directory, here);
  assert.equal(tried.stderr, '');
  assert.match(tried.stdout, /through the tunnel/);
  const line = await server.connectionLine((line) => line['client_cert'] !== undefined);
  assert.equal((line['client_cert'] as { subject: string }).subject, 'CN=app-1');

  const whence = "select host from information_schema.processlist where user = 'app'";
  const printed = "select 'through the tunnel'";
  const seen = await tryIt('mariadb', directory, { ...here, [printed]: whence });
  // The port that MariaDB knows is that of the far end's own connection, not one of the near end's.
  const told = /127\.0\.0\.1:\d+/.exec(seen.stdout)?.[0];
  await server.connectionLine((line) => line['client'] === told);
});
