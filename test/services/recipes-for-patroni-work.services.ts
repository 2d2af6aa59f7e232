/**
 * The recipe for Patroni, with a real one and two PostgreSQL: one port leads to the leader and the other to the replica; both
 * follow a switchover; a session at the former leader ends. It ends, too, if Patroni only hangs beside a PostgreSQL that would
 * go on taking writes.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { certificatesOf, startRecipe } from '../support/recipes.ts';
import { startPatroni } from './patroni.ts';
import { psql, psqlArguments } from './postgres.ts';
import { launch } from './process.ts';
import { tryIt } from './recipe.ts';

test('clients reach the leader, and follow it', async (t) => {
  const directory = await certificatesOf(t, 'patroni');
  const patroni = await startPatroni(t);
  const first = await patroni.leader();
  await psql(`host=${first} port=${patroni.port} user=postgres dbname=postgres`, [
    '-c',
    'create role app login',
  ]);
  const proxy = await startRecipe(t, 'patroni', directory, {
    '10.0.1.5:5432': `${patroni.hosts[0]}:${patroni.port}`,
    '10.0.1.6:5432': `${patroni.hosts[1]}:${patroni.port}`,
    'port: 8008': `port: ${patroni.restPort}`,
  });
  const conninfo = (listener: string) =>
    `host=db.example.com hostaddr=127.0.0.1 port=${proxy.port(listener)} user=app dbname=postgres sslmode=verify-full
     sslrootcert=${directory}/pki/ca.crt sslcert=${directory}/pki/app.crt sslkey=${directory}/pki/app.key connect_timeout=5`;
  const seenBy = async (listener: string) => {
    const { stdout } = await psql(conninfo(listener), [
      '-c',
      'select inet_server_addr(), pg_is_in_recovery()',
    ]);
    return stdout.trim();
  };
  const other = (host: string) => patroni.hosts.find((one) => one !== host) ?? '';
  const leads = async (host: string) =>
    assert.deepEqual([await seenBy('leader'), await seenBy('replicas')], [`${host}|f`, `${other(host)}|t`]);
  const sleeping = (listener: string) => {
    const session = launch('psql', [...psqlArguments(conninfo(listener)), '-c', 'select pg_sleep(200)']);
    t.after(() => void session.child.kill());
    return session;
  };
  const sessionsAt = (host: string) => async () => {
    const sql = "select count(*) from pg_stat_activity where query ~ '^select pg_sleep'";
    const { stdout } = await psql(`host=${host} port=${patroni.port} user=postgres dbname=postgres`, [
      '-c',
      sql,
    ]);
    assert.equal(stdout.trim(), '1');
  };
  await eventually(() => leads(first));
  const tried = await tryIt('patroni', directory, { 'port=5432': `port=${proxy.port('leader')}` });
  assert.equal(tried.stderr, '');
  assert.match(tried.stdout, /^ f$/m);

  await t.test('a switchover', async () => {
    const session = sleeping('leader');
    await eventually(sessionsAt(first));
    await patroni.switchover();
    assert.notEqual((await session.finished).code, 0);
    await eventually(() => leads(other(first)), 60_000);
  });

  await t.test('a Patroni that hangs', async () => {
    const second = await patroni.leader();
    const session = sleeping('leader');
    await eventually(sessionsAt(second));
    const { child } = patroni.agent(second);
    child.kill('SIGSTOP');
    try {
      assert.notEqual((await session.finished).code, 0);
      // Clients who came while nobody led were refused by the same code, but had no endpoint.
      await proxy.connectionLine(
        ({ code, endpoint }) => code === 'ERR_UPSTREAM_DOWN' && endpoint === `${second}:${patroni.port}`,
      );
      const alive = `host=${second} port=${patroni.port} user=postgres dbname=postgres`;
      assert.equal((await psql(alive, ['-c', 'select 1'])).code, 0, 'its PostgreSQL would have gone on');
    } finally {
      child.kill('SIGCONT');
    }
  });
});
