/** A MariaDB server in a temporary directory. */
import assert from 'node:assert/strict';
import { chownSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { closedPort } from '../support/upstream.ts';
import { ordinaryUser, type RunOptions, run, serve } from './process.ts';
import { program, rootOf } from './programs.ts';

export type Mariadb = {
  readonly port: number;
  readonly socket: string;
  readonly query: (sql: string) => Promise<string>;
};

/** A newer one, in the packages mariadb-server-core and mariadb-server. */
export const newerMariadbd = 'unpacked:usr/sbin/mariadbd';

/**
 * Starts a server on 127.0.0.1; `query` runs SQL as its superuser over a unix socket, past every proxy. `settings` are options of it;
 * `mariadbd` may be the newer one.
 */
export async function startMariadb(
  t: Pick<TestContext, 'after'>,
  settings: readonly string[] = [],
  mariadbd = 'mariadbd',
): Promise<Mariadb> {
  const directory = temporaryDirectory(t);
  const user = ordinaryUser('mysql', 'nobody');
  if (user !== undefined) chownSync(directory, user.uid, user.gid);
  const [data, socket] = [join(directory, 'data'), join(directory, 'socket')];
  const own = mariadbd === newerMariadbd ? ofRoot(rootOf(program(mariadbd))) : [];
  if (mariadbd === newerMariadbd) await bootstrap(mariadbd, data, own, { user, cwd: directory });
  else await install(data, { user, cwd: directory });
  const port = await closedPort();
  const query = async (sql: string): Promise<string> => {
    const { code, stdout, stderr } = await run('mariadb', [
      '--no-defaults',
      '--skip-column-names',
      `--socket=${socket}`,
      '--user=root',
      `--execute=${sql}`,
    ]);
    assert.equal(code, 0, stderr);
    return stdout.trim();
  };
  const options = [
    '--no-defaults',
    ...own,
    `--datadir=${data}`,
    `--socket=${socket}`,
    `--pid-file=${join(directory, 'pid')}`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    '--proxy-protocol-networks=127.0.0.1/32,localhost',
    '--skip-name-resolve',
    ...settings,
  ];
  await serve(t, mariadbd, options, {
    user,
    cwd: directory,
    ready: async () => void (await query('select 1')),
  });
  return { port, socket, query };
}

async function install(data: string, options: RunOptions): Promise<void> {
  const flags = ['--no-defaults', '--auth-root-authentication-method=normal', '--skip-test-db'];
  const made = await run('mariadb-install-db', [...flags, `--datadir=${data}`], options);
  assert.equal(made.code, 0, made.stdout + made.stderr);
}

/** Where its files are. */
function ofRoot(root: string): string[] {
  const share = `${root}/usr/share/mariadb`;
  return [
    `--basedir=${root}/usr`,
    `--lc-messages-dir=${share}`,
    `--character-sets-dir=${share}/charsets`,
    `--plugin-dir=${root}/usr/lib/mysql/plugin`,
  ];
}

/** As mariadb-install-db does it, which finds no libraries but the system's. */
async function bootstrap(
  mariadbd: string,
  data: string,
  own: readonly string[],
  options: RunOptions,
): Promise<void> {
  mkdirSync(data);
  if (options.user) chownSync(data, options.user.uid, options.user.gid);
  const share = `${rootOf(program(mariadbd))}/usr/share/mariadb`;
  const files = [
    'mariadb_system_tables.sql',
    'mariadb_performance_tables.sql',
    'mariadb_system_tables_data.sql',
  ];
  const sql = files.map((file) => readFileSync(join(share, file), 'utf8'));
  const input = ['create database mysql;', 'use mysql;', 'set @auth_root_socket=NULL;', ...sql].join('\n');
  const flags = ['--no-defaults', ...own, `--datadir=${data}`, '--bootstrap', '--silent-startup'];
  const made = await run(mariadbd, flags, { ...options, input });
  assert.equal(made.code, 0, made.stdout + made.stderr);
}
