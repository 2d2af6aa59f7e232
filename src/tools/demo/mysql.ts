/** The demo's MySQL: a real MariaDB, where one is installed, since a toy would log nobody's own client in. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { delimiter, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Check } from './checks.ts';
import type { Mode } from './modes.ts';

/** `client` is the path of its command line. */
export type Mysql = { readonly socket: string; readonly client: string; readonly stop: () => Promise<void> };

/** Far more than it takes to start, or to ask it something. */
const patienceMs = 30_000;
/** The longest path of a unix socket, in bytes. */
const maxPath = 107;

/**
 * Starts MariaDB with its data in this directory, on a unix socket only, as the user that we are; undefined
 * if it is not installed, or does not start. It ends with the process.
 */
export async function startMysql(directory: string): Promise<Mysql | undefined> {
  const [install, server, client] = ['mariadb-install-db', 'mariadbd', 'mariadb'].map(find);
  const data = resolve(directory, 'mariadb');
  const socket = join(data, 'socket');
  if (!install || !server || !client || Buffer.byteLength(socket) > maxPath) return undefined;
  const common = ['--no-defaults', `--datadir=${data}`, ...(process.getuid?.() === 0 ? ['--user=root'] : [])];
  try {
    if (!existsSync(join(data, 'mysql'))) {
      mkdirSync(data, { recursive: true, mode: 0o700 });
      await promisify(execFile)(install, [...common, '--skip-test-db'], { timeout: patienceMs });
    }
    const accounts = join(data, 'accounts.sql');
    writeFileSync(accounts, "create user if not exists demo@localhost identified by 'demo';\n");
    const own = [
      '--skip-networking',
      `--socket=${socket}`,
      `--pid-file=${data}/pid`,
      `--init-file=${accounts}`,
    ];
    // In a group of its own, so that Ctrl-C ends the sessions first.
    const child = spawn(server, [...common, ...own], { stdio: 'ignore', detached: true });
    process.on('exit', () => child.kill('SIGKILL'));
    await accepting(child, socket);
    return { socket, client, stop: () => stop(child) };
  } catch {
    return undefined;
  }
}

async function accepting(child: ChildProcess, socket: string): Promise<void> {
  for (let waited = 0; waited < patienceMs && child.exitCode === null; waited += 100) {
    if (await accepts(socket)) return;
    await sleep(100);
  }
  child.kill('SIGKILL');
  throw new Error('it does not start');
}

function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function stop(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await Promise.race([ended, sleep(patienceMs, undefined, { ref: false })]);
}

/** The mode that shows it, behind all others. */
export function mysqlMode({ client }: Mysql): Mode {
  return {
    listener: 'mysql',
    title: 'MySQL and MariaDB',
    what: 'The server would speak first. penstock greets in its place, so that a name\nand a certificate can decide. Behind it is the MariaDB of this machine.',
    check: async ({ listeners }) => [
      await asked(client, listeners.mysql, verified('ca.crt'), /demo@localhost/, 'TLS'),
      await asked(client, listeners.mysql, ['--skip-ssl'], /3159.*insecure transport/, 'plain text: refused'),
    ],
    command: ({ listeners }, directory) =>
      [
        `mariadb --no-defaults --host=localhost --protocol=tcp --port=${listeners.mysql}`,
        `--user=demo --password=demo ${verified(`${directory}/ca.crt`).join(' ')}`,
        "--execute='select current_user()'",
      ].join(' \\\n  '),
    shows: 'a row. With --skip-ssl: an error that says what to do.',
  };
}

function verified(ca: string): string[] {
  return [`--ssl-ca=${ca}`, '--ssl-verify-server-cert'];
}

/** Asks for one row by the command line, in the demo's directory. */
async function asked(
  client: string,
  port: number,
  tls: readonly string[],
  expected: RegExp,
  how: string,
): Promise<Check> {
  const to = ['--no-defaults', '--host=localhost', '--protocol=tcp', `--port=${port}`, ...tls];
  const login = ['--user=demo', '--password=demo', '--skip-column-names', '--execute=select current_user()'];
  const said = await promisify(execFile)(client, [...to, ...login], {
    cwd: '.penstock-demo',
    timeout: patienceMs,
  }).then(
    ({ stdout }) => stdout,
    (error: { stderr?: string; message: string }) => error.stderr ?? error.message,
  );
  const [line = ''] = said.trim().split('\n');
  return { ok: expected.test(line), text: `${how}: ${line.slice(0, 60)}` };
}

function find(name: string): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  return directories.map((directory) => join(directory, name)).find((path) => existsSync(path));
}
