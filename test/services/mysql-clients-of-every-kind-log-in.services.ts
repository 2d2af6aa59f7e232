/**
 * Clients and accounts of each kind, through `starttls: mysql`, at MariaDB and, where they were unpacked, MariaDB 11.8 and MySQL 9.7, over TLS and in plain text to the server: command
 * lines, Connector/J, Go's driver, PHP's mysqlnd, PyMySQL, mysql2 and mariadb (npm). Each prepares a statement and fetches; those
 * that can kill a query of their own do. Every client sends its password's proof to the server's own nonce.
 */
import assert from 'node:assert/strict';
import { chownSync, cpSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createConnection as connectMariadb } from 'mariadb';
import { createConnection } from 'mysql2/promise';
import { createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { type Mariadb, newerMariadbd, startMariadb } from './mariadb.ts';
import { mysqlClient, mysqld, startMysql } from './mysql.ts';
import { type Finished, ordinaryUser, run } from './process.ts';
import { find, rootOf } from './programs.ts';

const own = await ownCertificate('localhost', '127.0.0.1');
const clients = await createAuthority();
const credential = await clients.issue({ dns: ['app'], usage: 'client' });
const files = {
  ...own.files,
  'ca.crt': own.authority.cert,
  'clients.crt': clients.cert,
  'client.crt': credential.chain,
  'client.key': credential.key,
};

/** The server's own certificate, where it can read it. */
function tlsOf(t: TestContext): string[] {
  const directory = temporaryDirectory(t);
  writeFiles(directory, own.files);
  const user = ordinaryUser('mysql', 'nobody');
  if (user) {
    for (const file of ['', 'own.crt', 'own.key']) chownSync(join(directory, file), user.uid, user.gid);
  }
  return [`--ssl-cert=${join(directory, 'own.crt')}`, `--ssl-key=${join(directory, 'own.key')}`];
}

type Scene = { readonly proxy: RunningProxy; readonly server: Mariadb };

/** Listeners `tls`, `plain` and `unix`, after the way to the server, and `closed`, which demands a certificate. */
async function startScene(t: TestContext, server: Mariadb): Promise<Scene> {
  const terminated = { certificates: 'own' };
  const to = (upstream: string, tls: object = terminated) => ({
    starttls: 'mysql',
    routes: [{ tls, upstream }],
  });
  const address = `127.0.0.1:${server.port}`;
  const tls = { starttls: 'mysql', authority: 'test', server_name: 'localhost' };
  const proxy = await startProxy(
    t,
    {
      certificates: own.sections.certificates,
      authorities: { ...own.sections.authorities, clients: { ca: 'clients.crt' } },
      listeners: {
        tls: to('tls'),
        plain: to('plain'),
        unix: to('unix'),
        closed: to('tls', { ...terminated, client_auth: { authority: 'clients' } }),
      },
      upstreams: {
        tls: { endpoints: [address], tls, health_check: { type: 'mysql', interval: '200ms' } },
        plain: { endpoints: [address] },
        unix: { endpoints: [`unix:${server.socket}`] },
      },
    },
    files,
  );
  return { proxy, server };
}

const answer = "select 41 + 1, length(repeat('x', 70000)), current_user()";
const good = /^42[ \t]70000[ \t]/m;

type Cli = {
  readonly program: string;
  readonly verified: string;
  /** Where its plugins are, if not in the system. */
  readonly plugins?: string;
};
const pluginsOf = (name: string, directory: string) =>
  `--plugin-dir=${rootOf(find(name) ?? '')}/${directory}`;
const all: Record<string, Cli> = {
  'mysql 9.7': {
    plugins: pluginsOf(mysqlClient, 'usr/lib/mysql/plugin'),
    program: mysqlClient,
    verified: '--ssl-mode=VERIFY_IDENTITY',
  },
  'mariadb 11.8': {
    plugins: pluginsOf(newerMariadbd, 'usr/lib/x86_64-linux-gnu/libmariadb3/plugin'),
    program: 'unpacked:usr/bin/mariadb',
    verified: '--ssl-verify-server-cert',
  },
  'mariadb 10.11': { program: 'mariadb', verified: '--ssl-verify-server-cert' },
};
const lines = Object.entries(all).filter(([, cli]) => find(cli.program));

function ask(
  { proxy }: Scene,
  { program, verified, plugins }: Cli,
  listener: string,
  user: string,
  { sql = answer, options = [] }: { sql?: string; options?: string[] } = {},
): Promise<Finished> {
  const to = ['--protocol=tcp', '--host=localhost', `--port=${proxy.port(listener)}`];
  const login = [`--user=${user}`, ...(user === 'nobody' ? [] : ['--password=secret'])];
  const args = [
    '--no-defaults',
    '--skip-column-names',
    ...to,
    '--ssl-ca=ca.crt',
    verified,
    ...login,
    ...options,
  ];
  if (plugins) args.push(plugins);
  return run(program, [...args, `--execute=${sql}`], { cwd: proxy.directory });
}

async function asks(scene: Scene, cli: Cli, listener: string, user: string, expected = good, more = {}) {
  const { stdout, stderr } = await ask(scene, cli, listener, user, more);
  assert.match(stdout + stderr, expected, `${listener}, ${user}`);
}

const pair = ['--ssl-cert=client.crt', '--ssl-key=client.key'];

/** Programs of other languages, each with its source in clients/mysql/. */
function others(scene: Scene, listener: string, user: string): Record<string, () => Promise<Finished>> {
  const { proxy } = scene;
  const port = String(proxy.port(listener));
  const certificate = listener === 'closed' ? ['client.crt', 'client.key'] : [];
  const source = (name: string) => join(import.meta.dirname, 'clients/mysql', name);
  const inside = {
    cwd: proxy.directory,
    env: { GOPATH: '/usr/share/gocode', GO111MODULE: 'off', GOCACHE: join(proxy.directory, 'cache') },
  };
  // Its client certificates would be in a keystore.
  const jdbcPort = proxy.port('tls');
  const jdbc = `jdbc:mariadb://localhost:${jdbcPort}/?useSsl=true&serverSslCert=${proxy.directory}/ca.crt`;
  const common = ['localhost', port, user, 'secret', 'ca.crt', ...certificate];
  return {
    'Connector/J': () =>
      run(
        'java',
        ['-cp', '/usr/share/java/mariadb-java-client.jar', source('Client.java'), jdbc, user, 'secret'],
        inside,
      ),
    'go-sql-driver': () => {
      cpSync(source('client.go'), join(proxy.directory, 'client.go'));
      return run(
        'go',
        ['run', 'client.go', `localhost:${port}`, 'localhost', user, 'secret', 'ca.crt', ...certificate],
        inside,
      );
    },
    // For localhost it takes a unix socket.
    mysqlnd: () => run('php', [source('client.php'), '127.0.0.1', ...common.slice(1)], inside),
    PyMySQL: () => run('/usr/bin/python3', [source('client.py'), ...common], inside),
  };
}

async function askByNpm(scene: Scene, user: string): Promise<void> {
  const ssl = { ca: own.authority.cert, servername: 'localhost' };
  const options = { host: 'localhost', port: scene.proxy.port('tls'), user, password: 'secret', ssl };
  const sql = 'select ? + 1 as sum, length(repeat("x", ?)) as length';
  const mysql2 = await createConnection(options);
  const [rows] = await mysql2.execute(sql, [41, 70_000]);
  assert.deepEqual((rows as { sum: number; length: number }[])[0], { sum: 42, length: 70_000 });
  await mysql2.end();
  const mariadb = await connectMariadb(options);
  const [row] = await mariadb.execute(sql, [41, 70_000]);
  assert.deepEqual([Number(row.sum), Number(row.length)], [42, 70_000]);
  await mariadb.end();
}

test('MySQL 9.7', { skip: find(mysqld) === undefined }, async (t) => {
  const server = await startMysql(t, [...tlsOf(t), '--local-infile=on']);
  await server.query("create user app@'%' identified by 'secret'; create user nobody@'%' identified by ''");
  await server.query("create user sha@'%' identified with sha256_password by 'secret'");
  await server.query('grant all on *.* to app@"%"');
  const scene = await startScene(t, server);
  for (const [name, cli] of lines) {
    await t.test(name, async () => {
      await server.query('flush privileges');
      await asks(scene, cli, 'tls', 'app', good);
      await asks(scene, cli, 'tls', 'app', good);
      await asks(scene, cli, 'plain', 'app', good);
      await server.query('flush privileges');
      await asks(scene, cli, 'plain', 'app', /ERROR 1045/);
      await asks(scene, cli, 'unix', 'app', good);
      await asks(scene, cli, 'tls', 'nobody', good);
      await asks(scene, cli, 'closed', 'app', good, { options: pair });
      await asks(scene, cli, 'closed', 'app', /certificate required|ERROR 20(13|26)/);
      await asks(scene, cli, 'tls', 'app', good, { options: ['--compress'] });
      if (!name.startsWith('mysql')) return;
      const options = ['--compression-algorithms=zstd', '--zstd-compression-level=7'];
      const sql = `${answer}; show status like 'Compression_algorithm'`;
      const compressed = /^42[ \t]70000[ \t].*\nCompression_algorithm[ \t]zstd$/m;
      await asks(scene, cli, 'tls', 'app', compressed, { options, sql });
    });
  }
  for (const [name, cli] of lines) {
    await t.test(`${name}: an account with another plugin than the server's`, () =>
      asks(scene, cli, 'tls', 'sha'),
    );
  }
  await t.test('npm', () => askByNpm(scene, 'app'));
  await asksByOthers(t, scene, 'tls');
  await server.query("install plugin auth_socket soname 'auth_socket.so'");
  const second = `identified with auth_socket as '${userInfo().username}'`;
  await server.query(`create user two@localhost identified by 'secret' and ${second}`);
  await t.test(
    'an account with two factors is let in by the server itself, and refused by it behind us',
    async () => {
      const login = ['--no-defaults', `--socket=${server.socket}`, '--user=two', '--password=secret'];
      const direct = await run(mysqlClient, [...login, '--execute=select current_user()']);
      assert.match(direct.stdout, /two@localhost/, direct.stderr);
      for (const [, cli] of lines)
        await asks(scene, cli, 'unix', 'two', /ERROR 1045 .*Access denied for user 'two'/);
    },
  );
});

for (const [version, mariadbd] of [
  ['10.11', 'mariadbd'],
  ['11.8', newerMariadbd],
] as const) {
  test(`MariaDB ${version}`, { skip: find(mariadbd) === undefined }, async (t) => {
    const plugins = ['ed25519', ...(mariadbd === newerMariadbd ? ['parsec'] : [])];
    const loaded = plugins.map((plugin) => `--plugin-load-add=auth_${plugin}`);
    const server = await startMariadb(t, [...tlsOf(t), ...loaded], mariadbd);
    await server.query("create user app@'%' identified by 'secret'; create user nobody@'%'");
    for (const plugin of plugins) {
      await server.query(`create user ${plugin}@'%' identified via ${plugin} using password('secret')`);
    }
    const scene = await startScene(t, server);
    for (const [name, cli] of lines) {
      await t.test(name, async () => {
        for (const listener of ['tls', 'plain', 'unix']) await asks(scene, cli, listener, 'app');
        await asks(scene, cli, 'tls', 'nobody');
        await asks(scene, cli, 'closed', 'app', good, { options: pair });
        await asks(scene, cli, 'tls', 'app', good, { options: ['--compress'] });
        if (name !== `mariadb ${version}`) return;
        for (const user of plugins) {
          for (const listener of ['tls', 'plain']) await asks(scene, cli, listener, user);
        }
      });
    }
    await t.test('npm', () => askByNpm(scene, 'app'));
    await asksByOthers(t, scene, 'closed');
  });
}

const cancelling = ['Connector/J', 'mysqlnd'];

async function asksByOthers(t: TestContext, scene: Scene, listener: string): Promise<void> {
  for (const [name, start] of Object.entries(others(scene, listener, 'app'))) {
    await t.test(name, async () => {
      const { stdout, stderr } = await start();
      assert.match(stdout + stderr, good);
      if (cancelling.includes(name)) assert.match(stdout, /^cancelled$/m);
    });
  }
}
