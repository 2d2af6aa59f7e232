/**
 * The `pg` client of Node reaches PostgreSQL in all three modes with an SSLRequest, and where penstock terminates also
 * directly (`sslnegotiation=direct`, with the ALPN name that goes with it), which servers before version 17 don't know.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import { modes, startThreeModes } from './three-modes.ts';

test('the pg client through penstock', async (t) => {
  const { proxy, port, client: credential, serverCa } = await startThreeModes(t);
  const query = async (mode: string, options: pg.ClientConfig): Promise<unknown[]> => {
    const client = new pg.Client({
      host: '127.0.0.1',
      port,
      user: 'app',
      database: 'postgres',
      ssl: { ca: serverCa, cert: credential.cert, key: credential.key, servername: `${mode}.example.test` },
      ...options,
    });
    await client.connect();
    try {
      const { rows } = await client.query('select i from generate_series($1::int, $2::int) as i', [1, 1000]);
      return rows;
    } finally {
      await client.end();
    }
  };

  for (const mode of modes) {
    await t.test(`${mode}, by SSLRequest`, async () => {
      assert.equal((await query(mode, {})).length, 1000);
      const line = await proxy.connectionLine((line) => line['route'] === mode);
      assert.equal(line['alpn'], undefined);
    });
  }

  for (const mode of ['terminated', 'rewrapped']) {
    await t.test(`${mode}, directly`, async () => {
      assert.equal((await query(mode, { sslnegotiation: 'direct' })).length, 1000);
      const line = await proxy.connectionLine((line) => line['route'] === mode && line['alpn'] !== undefined);
      assert.equal(line['alpn'], 'postgresql');
    });
  }

  await t.test(
    'passed through, a direct client reaches an old server too: penstock asks it for TLS',
    async () => {
      assert.equal((await query('passed', { sslnegotiation: 'direct' })).length, 1000);
    },
  );

  await t.test('without TLS it is told to use it', async () => {
    await assert.rejects(query('terminated', { ssl: false }), {
      code: '28000',
      message: /this server takes TLS connections only/,
    });
  });
});
