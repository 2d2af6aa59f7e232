/**
 * The recipe for SQL Server, from its file and by what its page has one type, in front of a stand-in for the server (none is to be had): tsql asks
 * for TLS within TDS 7, and a handshake as of TDS 8 chooses the other route.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { certificatesOf, startRecipe } from '../support/recipes.ts';
import { tryIt } from './recipe.ts';
import { startSqlServer } from './sql-server.ts';

test('tsql asks for 42 by TDS 7, and openssl begins as TDS 8 does', async (t) => {
  const directory = await certificatesOf(t, 'mssql');
  const [cert, key] = ['crt', 'key'].map((end) =>
    readFileSync(join(directory, `pki/sql.example.com.${end}`), 'utf8'),
  );
  const server = await startSqlServer(t, { cert, key });
  const proxy = await startRecipe(t, 'mssql', directory, { '127.0.0.1:11433': `127.0.0.1:${server}` });
  const port = String(proxy.port());
  const tried = await tryIt('mssql', directory, { 'port = 1433': `port = ${port}`, ':1433': `:${port}` });
  assert.match(tried.stdout, /^42$/m, tried.stderr);
  assert.match(tried.stdout, /ALPN protocol: tds\/8\.0/);
  assert.match(tried.stdout, /Verify return code: 0 \(ok\)/);
  await proxy.connectionLine((line) => line['upstream'] === 'sql' && line['code'] === undefined);
  await proxy.connectionLine((line) => line['upstream'] === 'sql-strict');
});
