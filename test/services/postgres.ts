/** PostgreSQL servers in temporary directories, and psql. */
import { chmodSync, chownSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { closedPort } from '../support/upstream.ts';
import { type Finished, ordinaryUser, type RunOptions, run, serve, type User } from './process.ts';

export type Postgres = {
  readonly port: number;
  /** Runs SQL as the superuser over the server's unix socket, past every proxy; returns what it prints. */
  readonly query: (sql: string) => Promise<string>;
  /** libpq's conninfo for that. */
  readonly direct: string;
  readonly log: () => string;
};

/** PEM texts. `ca` is whom the server asks its clients to be signed by: it then takes nobody without a certificate. */
export type ServerTls = { readonly cert: string; readonly key: string; readonly ca: string };

/**
 * Starts a server with the roles `app` (no password) and `guarded` (password `secret`, SCRAM). Without `tls` it is one
 * that knows no TLS at all.
 */
export async function startPostgres(t: Pick<TestContext, 'after'>, tls?: ServerTls): Promise<Postgres> {
  const directory = temporaryDirectory(t);
  const data = join(directory, 'data');
  mkdirSync(data, { mode: 0o700 });
  const user = ordinaryUser('postgres', 'nobody');
  writeFileSync(join(directory, 'hba.conf'), accessRules(tls !== undefined));
  const files =
    tls && writeFiles(directory, { 'server.crt': tls.cert, 'server.key': tls.key, 'ca.crt': tls.ca });
  giveTo(user, directory);
  const made = await run(
    'initdb',
    ['-D', data, '-U', 'postgres', '-A', 'trust', '-N', '-E', 'UTF8', '--locale=C'],
    {
      user,
      cwd: directory,
    },
  );
  if (made.code !== 0) throw new Error(`initdb: ${made.stderr}`);
  const port = await closedPort();
  const direct = `host=${directory} port=${port} user=postgres dbname=postgres`;
  const query = async (sql: string): Promise<string> => {
    const { code, stdout, stderr } = await psql(direct, ['-c', sql]);
    if (code !== 0) throw new Error(stderr);
    return stdout.trim();
  };
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: directory,
    hba_file: join(directory, 'hba.conf'),
    fsync: 'off',
    max_wal_size: '4GB',
    ...(files && {
      ssl: 'on',
      ssl_cert_file: files['server.crt'],
      ssl_key_file: files['server.key'],
      ssl_ca_file: files['ca.crt'],
    }),
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const server = await serve(t, 'postgres', ['-D', data, '-p', String(port), ...options], {
    user,
    cwd: directory,
    ready: async () => void (await query('select 1')),
    // "Fast": it doesn't wait for its clients.
    signal: 'SIGINT',
  });
  await query(
    "create role app login; create role guarded login password 'secret'; grant all on schema public to app",
  );
  return { port, query, direct, log: server.output };
}

/** Runs psql without the user's own settings; prints bare values. */
export function psql(conninfo: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return run('psql', [...psqlArguments(conninfo), ...args], options);
}

/** What psql is to be started with. */
export function psqlArguments(conninfo: string): string[] {
  return ['-X', '-A', '-t', '-q', '-v', 'ON_ERROR_STOP=1', '-d', conninfo];
}

function accessRules(tls: boolean): string {
  const [type, certificate] = tls ? ['hostssl', 'clientcert=verify-ca'] : ['hostnossl', ''];
  return [
    'local all postgres trust',
    `${type} all app 127.0.0.1/32 trust ${certificate}`,
    `${type} all guarded 127.0.0.1/32 scram-sha-256 ${certificate}`,
    '',
  ].join('\n');
}

function giveTo(user: User | undefined, directory: string): void {
  if (user === undefined) return;
  chmodSync(directory, 0o755);
  for (const path of ['', ...readdirSync(directory)]) chownSync(join(directory, path), user.uid, user.gid);
}
