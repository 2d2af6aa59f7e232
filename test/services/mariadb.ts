/** A MariaDB server in a temporary directory. */
import assert from 'node:assert/strict';
import { chownSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { closedPort } from '../support/upstream.ts';
import { ordinaryUser, run, serve } from './process.ts';

/** Starts a server on 127.0.0.1; `query` runs SQL as its superuser over a unix socket, past every proxy. `settings` are options of it. */
export async function startMariadb(
  t: Pick<TestContext, 'after'>,
  settings: readonly string[] = [],
): Promise<{ port: number; socket: string; query: (sql: string) => Promise<string> }> {
  const directory = temporaryDirectory(t);
  const user = ordinaryUser('mysql', 'nobody');
  if (user !== undefined) chownSync(directory, user.uid, user.gid);
  const [data, socket] = [join(directory, 'data'), join(directory, 'socket')];
  const install = ['--no-defaults', '--auth-root-authentication-method=normal', '--skip-test-db'];
  const made = await run('mariadb-install-db', [...install, `--datadir=${data}`], { user, cwd: directory });
  assert.equal(made.code, 0, made.stdout + made.stderr);
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
    `--datadir=${data}`,
    `--socket=${socket}`,
    `--pid-file=${join(directory, 'pid')}`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    '--proxy-protocol-networks=127.0.0.1/32,localhost',
    '--skip-name-resolve',
    ...settings,
  ];
  await serve(t, 'mariadbd', options, {
    user,
    cwd: directory,
    ready: async () => void (await query('select 1')),
  });
  return { port, socket, query };
}
