/** The PostgreSQL server behind the front `postgres`: one for all peers, in a directory of its own, run by an ordinary user. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Front, fronts, type Prepared, type Site } from './fronts.ts';
import { endOf, type Started, start, stop } from './processes.ts';
import type { Ground } from './site.ts';

export type Database = { readonly stop: () => Promise<void> };

/** Some megabytes of rows: all of them in the server's memory. */
const scale = 1;

/**
 * Starts it on the addresses of all sites, with TLS for those who ask and none for the others, and fills the tables of pgbench.
 * Throws if it is not installed, or does not start.
 */
export async function startDatabase({ sites, files, cores }: Ground): Promise<Database> {
  const programs = postgresPrograms();
  const [first] = sites.values();
  if (first === undefined) throw new Error('there is no peer to stand behind');
  const directory = mkdtempSync(join(tmpdir(), 'penstock-bench-postgres-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  const user = ordinaryUser();
  const give = (path: string) => {
    if (user !== undefined) chownSync(path, user.uid, user.gid);
    return path;
  };
  const copied = (file: string, name: string) => {
    copyFileSync(file, join(directory, name));
    return give(join(directory, name));
  };
  give(directory);
  const asUser =
    user === undefined ? [] : ['setpriv', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups'];
  const data = join(directory, 'data');
  mkdirSync(data, { mode: 0o700 });
  give(data);
  const initdb = [...asUser, join(programs, 'initdb'), '-D', data, '-U', 'bench', '-A', 'trust', '-N'];
  runToEnd([...initdb, '--locale=C', '-E', 'UTF8'], {});
  const port = first.upstreamPorts.postgres;
  const settings = {
    listen_addresses: [...sites.values()].map(({ upstreamAddress }) => upstreamAddress).join(','),
    unix_socket_directories: '',
    fsync: 'off',
    dynamic_shared_memory_type: 'mmap',
    ssl: 'on',
    ssl_cert_file: copied(files.ec.cert, 'server.crt'),
    ssl_key_file: copied(files.ec.key, 'server.key'),
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const command = [...asUser, join(programs, 'postgres'), '-D', data, '-p', String(port), ...options];
  const server = start({ command, output: join(first.directory, 'postgres.out') }, cores.load);
  try {
    await fill(programs, first, server);
  } catch (error) {
    await stop(server);
    throw error;
  }
  return { stop: () => shutDown(server) };
}

/** PostgreSQL's own TLS, without a proxy: what takes no CPU beside the server's, and is to be compared in rate and latency. */
export function prepareDirect(site: Site): Prepared {
  return {
    launches: [],
    served: fronts.filter(({ name }: Front) => name === 'postgres'),
    ports: { postgres: site.upstreamPorts.postgres },
    logFile: join(site.directory, 'none'),
    logs: 'nothing',
  };
}

/** Where Debian has the programs of its newest PostgreSQL. Throws if there is none with pgbench. */
export function postgresPrograms(): string {
  const all = '/usr/lib/postgresql';
  const versions = existsSync(all) ? readdirSync(all) : [];
  const found = versions
    .toSorted((a, b) => Number(b) - Number(a))
    .map((version) => join(all, version, 'bin'))
    .find((directory) =>
      ['initdb', 'postgres', 'pgbench', 'psql'].every((it) => existsSync(join(directory, it))),
    );
  if (found === undefined) throw new Error("PostgreSQL is not installed: Debian's package postgresql");
  return found;
}

/** How clients reach it, or the peer before it, at this address and port. */
export function connectionEnvironment(host: string, port: number): Record<string, string> {
  return {
    PGHOSTADDR: host,
    PGPORT: String(port),
    PGUSER: 'bench',
    PGDATABASE: 'postgres',
    PGGSSENCMODE: 'disable',
  };
}

async function fill(programs: string, site: Site, server: Started): Promise<void> {
  const env = {
    ...connectionEnvironment(site.upstreamAddress, site.upstreamPorts.postgres),
    PGSSLMODE: 'disable',
  };
  const until = Date.now() + 30_000;
  for (;;) {
    const end = endOf(server);
    if (end !== undefined) throw new Error(`PostgreSQL ${end}`);
    try {
      runToEnd([join(programs, 'psql'), '-X', '-c', 'select 1'], env);
      break;
    } catch (error) {
      if (Date.now() > until) throw error;
      await sleep(100);
    }
  }
  runToEnd([join(programs, 'pgbench'), '-i', '-q', '-s', String(scale)], env);
}

/** Whom the server runs as, since it refuses to be root; undefined if we are not. */
function ordinaryUser(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const idOf = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: idOf('-u'), gid: idOf('-g') };
}

function runToEnd([program = '', ...args]: readonly string[], env: Readonly<Record<string, string>>): void {
  execFileSync(program, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
    cwd: '/',
  });
}

/** "Fast", as PostgreSQL calls it: it waits for no client, and leaves no shared memory behind. */
async function shutDown(server: Started): Promise<void> {
  const ended = once(server.child, 'exit');
  server.child.kill('SIGINT');
  await Promise.race([ended, sleep(5000, undefined, { ref: false })]);
  await stop(server);
}
