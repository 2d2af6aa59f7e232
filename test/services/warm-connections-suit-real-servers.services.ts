/**
 * Connections that are ready before clients, to PostgreSQL over mutual TLS and to MariaDB, which speaks first: clients find them, also where the
 * server closes those that say nothing after a second; and the server has no complaint about those that end because they are too old.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { createAuthority } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { warmConfig, warmProxy } from '../support/warm.ts';
import { startMariadb } from './mariadb.ts';
import { startPostgres } from './postgres.ts';
import { run } from './process.ts';

const warmLines = ({ log }: RunningProxy) => log.filter((line) => line['warm'] === true).length;

test('PostgreSQL', async (t) => {
  const ca = await createAuthority();
  const [server, ours] = await Promise.all([
    ca.issue({ dns: ['db.internal'] }),
    ca.issue({ cn: 'app', usage: 'client' }),
  ]);
  const postgres = await startPostgres(t, { cert: server.chain, key: server.key, ca: ca.cert });
  const own = await ownCertificate('db.example');
  const files = { ...own.files, 'ours.crt': ours.cert, 'ours.key': ours.key, 'internal.crt': ca.cert };
  const sections = {
    certificates: { ...own.sections.certificates, ours: { cert: 'ours.crt', key: 'ours.key' } },
    authorities: { internal: { ca: 'internal.crt' } },
  };
  const tls = {
    starttls: 'postgres',
    authority: 'internal',
    server_name: 'db.internal',
    certificate: 'ours',
  };
  const routes = [{ tls: { certificates: 'own' }, upstream: 'app' }];
  const configWith = (max_age: string) => {
    const listeners = { in: { starttls: 'postgres', routes } };
    return {
      ...sections,
      ...warmConfig(postgres, { tls, warm: { connections: 2, max_age } }, { listeners }),
    };
  };
  const proxy = await startProxy(t, configWith('400ms'), files);
  const query = async () => {
    const ssl = { ca: own.authority.cert, servername: 'db.example' };
    const client = new pg.Client({
      host: '127.0.0.1',
      port: proxy.port(),
      user: 'app',
      database: 'postgres',
      ssl,
    });
    await client.connect();
    const { rows } = await client.query('select 1 as one');
    await client.end();
    assert.deepEqual(rows, [{ one: 1 }]);
  };

  await t.test('does not mind connections that say nothing and leave', async () => {
    const before = postgres.log();
    // Several generations of them.
    await sleep(2000);
    assert.equal(postgres.log(), before);
  });

  await t.test('serves clients over them', async () => {
    await eventually(async () => {
      await query();
      assert.ok(warmLines(proxy) > 0);
    });
  });

  await t.test('serves clients although it closes silent ones after a second', async () => {
    await postgres.query("alter system set authentication_timeout = '1s'");
    await postgres.query('select pg_reload_conf()');
    await proxy.reload(configWith('30s'));
    await eventually(() => assert.ok(proxy.log.some(({ msg }) => msg.includes('closed a warm connection'))));
    for (let round = 0; round < 8; round += 1) {
      await query();
      await sleep(250);
    }
    const failed = proxy.log.filter(({ msg, code }) => msg === 'connection' && code !== undefined);
    assert.deepEqual(failed, []);
  });
});

test('MariaDB, which speaks first', async (t) => {
  const mariadb = await startMariadb(t, ['--connect-timeout=2']);
  await mariadb.query("create user app@'127.0.0.1'");
  const proxy = await warmProxy(t, mariadb, { warm: { connections: 2, max_age: '1s' } });
  const query = async () => {
    const client = ['--no-defaults', '--host=127.0.0.1', '--protocol=tcp', `--port=${proxy.port()}`];
    const wanted = ['--user=app', '--skip-ssl', '--skip-column-names', '--execute=select 1'];
    const { code, stdout, stderr } = await run('mariadb', [...client, ...wanted]);
    assert.equal(code, 0, stderr);
    assert.equal(stdout.trim(), '1');
  };
  for (let round = 0; round < 6; round += 1) {
    await query();
    await sleep(400);
  }
  await eventually(() => assert.ok(warmLines(proxy) > 0));
  const failed = proxy.log.filter(({ msg, code }) => msg === 'connection' && code !== undefined);
  assert.deepEqual(failed, []);
  // It counts those that said nothing; clients that come in time take no harm.
  assert.ok(
    Number((await mariadb.query("show global status like 'Aborted_connects'")).split(/\s+/).at(-1)) > 0,
  );
});
