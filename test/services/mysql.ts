/** A MySQL server of a newer Debian (mysql-server-core), in a temporary directory. */
import assert from 'node:assert/strict';
import { chownSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { closedPort } from '../support/upstream.ts';
import type { Mariadb } from './mariadb.ts';
import { ordinaryUser, run, serve } from './process.ts';
import { program, rootOf } from './programs.ts';

export const mysqld = 'unpacked:usr/sbin/mysqld';
export const mysqlClient = 'unpacked:usr/bin/mysql';

/** Starts it on 127.0.0.1; `query` runs SQL as its superuser over a unix socket, past every proxy. */
export async function startMysql(
  t: Pick<TestContext, 'after'>,
  settings: readonly string[] = [],
): Promise<Mariadb> {
  const directory = temporaryDirectory(t);
  const user = ordinaryUser('mysql', 'nobody');
  if (user !== undefined) chownSync(directory, user.uid, user.gid);
  const root = rootOf(program(mysqld));
  const common = [
    '--no-defaults',
    `--basedir=${root}/usr`,
    `--lc-messages-dir=${root}/usr/share/mysql`,
    `--character-sets-dir=${root}/usr/share/mysql/charsets`,
    `--datadir=${join(directory, 'data')}`,
  ];
  const socket = join(directory, 'socket');
  const made = await run(mysqld, [...common, '--initialize-insecure'], { user, cwd: directory });
  assert.equal(made.code, 0, made.stdout + made.stderr);
  const port = await closedPort();
  const query = async (sql: string): Promise<string> => {
    const options = ['--no-defaults', '--skip-column-names', `--socket=${socket}`, '--user=root'];
    const { code, stdout, stderr } = await run(mysqlClient, [...options, `--execute=${sql}`]);
    assert.equal(code, 0, stderr);
    return stdout.trim();
  };
  const options = [
    ...common,
    `--plugin-dir=${root}/usr/lib/mysql/plugin`,
    `--socket=${socket}`,
    `--pid-file=${join(directory, 'pid')}`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    '--mysqlx=off',
    '--secure-file-priv=NULL',
    '--skip-name-resolve',
    ...settings,
  ];
  const ready = async (): Promise<void> => void (await query('select 1'));
  // Without its files, which are removed first, it would not end by itself.
  await serve(t, mysqld, options, { user, cwd: directory, ready, signal: 'SIGKILL' });
  return { port, socket, query };
}
