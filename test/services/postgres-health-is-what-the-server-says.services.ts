/**
 * The health check `postgres` passes real servers, plain and over TLS with client certificates, though it knows no role of
 * theirs; and finds one down that shuts down but still accepts connections, or that is not the one it should be.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAuthority } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { checksOf, isDown, passed } from '../support/health.ts';
import { psqlArguments, startPostgres } from './postgres.ts';
import { launch } from './process.ts';

const check = { type: 'postgres', interval: '100ms', timeout: '5s', healthy_after: 1, unhealthy_after: 2 };

test('a plain server passes, until it shuts down', async (t) => {
  const server = await startPostgres(t);
  const label = `127.0.0.1:${server.port}`;
  const checks = await checksOf(t, { endpoints: [label], health_check: check });
  await checks.report(label, passed);
  assert.doesNotMatch(server.log(), /could not receive|reset by peer|incomplete startup/);

  // A "smart" shutdown waits for its sessions, and answers everyone else that it is shutting down.
  const session = launch('psql', [...psqlArguments(server.direct), '-c', 'select pg_sleep(300)']);
  t.after(() => void session.child.kill());
  await eventually(async () =>
    assert.equal(
      await server.query("select count(*) from pg_stat_activity where query ~ '^select pg_sleep'"),
      '1',
    ),
  );
  const postmaster = Number((await server.query("select pg_read_file('postmaster.pid')")).split('\n')[0]);
  process.kill(postmaster, 'SIGTERM');
  const { reason } = await checks.report(label, isDown);
  assert.match(reason ?? '', /57P03/);
});

test('a server that demands TLS and certificates passes, for those who trust it', async (t) => {
  const [servers, strangers] = [await createAuthority(), await createAuthority()];
  const { cert, key } = await servers.issue({ cn: 'database', dns: ['db.internal'], usage: 'server' });
  const client = await servers.issue({ cn: 'penstock', usage: 'client' });
  const server = await startPostgres(t, { cert, key, ca: servers.cert });
  const label = `127.0.0.1:${server.port}`;
  const upstream = (authority: string) => ({
    endpoints: [label],
    tls: { starttls: 'postgres', server_name: 'db.internal', authority, certificate: 'client' },
    health_check: check,
  });
  const checks = await checksOf(t, upstream('servers'), {
    sections: {
      certificates: { client: { cert: 'client.crt', key: 'client.key' } },
      authorities: { servers: { ca: 'servers.crt' }, strangers: { ca: 'strangers.crt' } },
    },
    files: {
      'client.crt': client.cert,
      'client.key': client.key,
      'servers.crt': servers.cert,
      'strangers.crt': strangers.cert,
    },
  });
  await checks.report(label, passed);
  assert.doesNotMatch(server.log(), /accept SSL|SSL error|could not receive|reset by peer/);
  await checks.update(upstream('strangers'));
  await checks.report(label, isDown);
});
