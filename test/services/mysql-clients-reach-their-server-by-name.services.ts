/**
 * mysql2 through one port: the server name decides which of two servers it reaches, one of them only with a client certificate, and
 * penstock greets it in the server's place. MariaDB's own client (10.11) sends no server name, and has a port for each; 11.8 does. One server has
 * TLS of its own, the other none; accounts log in by both plugins that MariaDB has built in.
 */
import assert from 'node:assert/strict';
import { chownSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createConnection } from 'mysql2/promise';
import { createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { type Mariadb, startMariadb } from './mariadb.ts';
import { type Finished, launch, ordinaryUser, run } from './process.ts';
import { find } from './programs.ts';

/** Two names of this machine, as any machine has them: MariaDB's client sends the name that it connects to. */
const [open, closed] = ['localhost', hostname()] as const;
const own = await ownCertificate(open, closed);
const clients = await createAuthority();
const credential = await clients.issue({ dns: ['app'], usage: 'client' });

const accounts = [
  "create user app@'%' identified by 'secret'",
  "create user nobody@'%'",
  "install soname 'auth_ed25519'",
  "create user ed@'%' identified via ed25519 using password('secret')",
  "grant all on *.* to app@'%', ed@'%'",
];

const files = {
  'ca.crt': own.authority.cert,
  'client.crt': credential.chain,
  'client.key': credential.key,
};

async function startServer(t: TestContext, tls: boolean): Promise<Mariadb> {
  const directory = temporaryDirectory(t);
  writeFiles(directory, own.files);
  const user = ordinaryUser('mysql', 'nobody');
  if (user)
    for (const file of ['', 'own.crt', 'own.key']) chownSync(join(directory, file), user.uid, user.gid);
  const settings = [`--ssl-cert=${join(directory, 'own.crt')}`, `--ssl-key=${join(directory, 'own.key')}`];
  const server = await startMariadb(t, [
    `--report-host=${tls ? 'with-tls' : 'plain'}`,
    ...(tls ? [...settings, '--require-secure-transport=on'] : []),
  ]);
  for (const account of accounts) await server.query(account);
  return server;
}

async function startScene(t: TestContext): Promise<RunningProxy> {
  return (await startBoth(t)).proxy;
}

type Both = {
  readonly proxy: RunningProxy;
  readonly servers: Readonly<Record<'plain' | 'with-tls', Mariadb>>;
};

async function startBoth(t: TestContext): Promise<Both> {
  const [withTls, plain] = [await startServer(t, true), await startServer(t, false)];
  const health_check = { type: 'mysql', interval: '100ms', healthy_after: 1 };
  const tls = { starttls: 'mysql', authority: 'test', server_name: open };
  const toOpen = { tls: { certificates: 'own' }, upstream: 'plain' };
  const toClosed = {
    tls: { certificates: 'own', client_auth: { authority: 'clients' } },
    upstream: 'with_tls',
  };
  const proxy = await startProxy(
    t,
    {
      certificates: own.sections.certificates,
      authorities: { ...own.sections.authorities, clients: { ca: 'clients.crt' } },
      listeners: {
        mysql: {
          bind: '0.0.0.0:0',
          starttls: 'mysql',
          routes: [
            { sni: open, ...toOpen },
            { sni: closed, ...toClosed },
          ],
        },
        open: { starttls: 'mysql', routes: [toOpen] },
        closed: { bind: '0.0.0.0:0', starttls: 'mysql', routes: [toClosed] },
        mixed: {
          starttls: 'mysql',
          routes: [
            { tls: { certificates: 'own' }, upstream: 'with_tls' },
            { name: 'plain', tls: 'off', upstream: 'with_tls' },
          ],
        },
        unencrypted: { starttls: 'mysql', routes: [{ tls: 'off', upstream: 'with_tls' }] },
        passed: { starttls: 'mysql', routes: [{ tls: 'passthrough', upstream: 'passed' }] },
      },
      upstreams: {
        plain: { endpoints: [`127.0.0.1:${plain.port}`], health_check },
        with_tls: { endpoints: [`127.0.0.1:${withTls.port}`], tls, health_check },
        passed: { endpoints: [`127.0.0.1:${withTls.port}`] },
      },
    },
    { ...own.files, 'clients.crt': clients.cert },
  );
  return { proxy, servers: { plain, 'with-tls': withTls } };
}

/** Runs the query by MariaDB's client, over TLS that it verifies unless the options say otherwise. */
function ask(t: TestContext, port: number, query: string, ...options: string[]): Promise<Finished> {
  const directory = temporaryDirectory(t);
  writeFiles(directory, files);
  return run(
    'mariadb',
    [
      '--no-defaults',
      '--protocol=tcp',
      `--port=${port}`,
      '--skip-column-names',
      '--ssl-ca=ca.crt',
      '--ssl-verify-server-cert',
      `--execute=${query}`,
      ...options,
    ],
    { cwd: directory },
  );
}

const certificate = ['--ssl-cert=client.crt', '--ssl-key=client.key'];
const named = ['--user=app', '--password=secret'];
const who = "select @@report_host, current_user(), 'in'";

test('by mysql2: two servers through one port, one only with a certificate', async (t) => {
  const proxy = await startScene(t);
  const port = proxy.port('mysql');
  const connect = (host: string, options: object = {}) =>
    createConnection({
      host,
      port,
      user: 'app',
      password: 'secret',
      ssl: { ca: own.authority.cert, ...options },
    });
  const pair = { cert: credential.chain, key: credential.key };
  for (const [host, options, name] of [
    [open, {}, 'plain'],
    [closed, pair, 'with-tls'],
  ] as const) {
    const connection = await connect(host, options);
    const [rows] = await connection.query('select @@report_host as host, repeat("x", 70000) as text');
    const [row] = rows as { host: string; text: string }[];
    assert.deepEqual([row?.host, row?.text.length], [name, 70_000]);
    await connection.end();
  }
  await assert.rejects(connect(closed), /certificate required|closed|ECONNRESET/i);
  // An address is no server name, so none is sent.
  await assert.rejects(connect('127.0.0.1'), /unrecognized name/);
});

/** A query that sleeps, of the account `app`, ended by Ctrl-C once it runs; resolves with what the client said. */
async function interrupted(
  server: Mariadb,
  name: string,
  args: readonly string[],
  cwd: string,
): Promise<string> {
  const session = launch(name, [...args, '--execute=select sleep(300)'], { cwd });
  const running =
    "select count(*) from information_schema.processlist where user = 'app' and info like 'select sleep%'";
  await eventually(async () => assert.equal(await server.query(running), '1'), 30_000);
  session.child.kill('SIGINT');
  const { stdout, stderr } = await session.finished;
  await eventually(async () => assert.equal(await server.query(running), '0'));
  return stdout + stderr;
}

const newer = 'unpacked:usr/bin/mariadb';

test("by MariaDB's newer client: the same, and Ctrl-C at either", {
  skip: find(newer) === undefined,
}, async (t) => {
  const { proxy, servers } = await startBoth(t);
  writeFiles(proxy.directory, files);
  for (const [host, options, name] of [
    [open, [], 'plain'],
    [closed, certificate, 'with-tls'],
  ] as const) {
    const common = [
      '--no-defaults',
      '--protocol=tcp',
      `--host=${host}`,
      `--port=${proxy.port('mysql')}`,
      '--skip-column-names',
    ];
    const args = [...common, '--ssl-ca=ca.crt', '--ssl-verify-server-cert', ...named, ...options];
    const { stdout, stderr } = await run(newer, [...args, `--execute=${who}`], { cwd: proxy.directory });
    assert.equal(stdout + stderr, `${name}\tapp@%\tin\n`);
    const told = await interrupted(servers[name], newer, args, proxy.directory);
    assert.match(told, /Query execution was interrupted|^1$/m);
  }
});

test("by MariaDB's client: accounts of each kind", async (t) => {
  const proxy = await startScene(t);
  const cases: [name: string, host: string, options: string[], told: RegExp][] = [
    ['by password', open, named, /^plain\tapp@%\tin\n$/],
    ['without one', open, ['--user=nobody'], /^plain\tnobody@%\tin\n$/],
    ['by ed25519', open, ['--user=ed', '--password=secret'], /^plain\ted@%\tin\n$/],
    ['with compression', open, [...named, '--compress'], /^plain\tapp@%\tin\n$/],
    ['with a database', open, [...named, '--database=mysql'], /^plain\tapp@%\tin\n$/],
    ['by certificate and password', closed, [...named, ...certificate], /^with-tls\tapp@%\tin\n$/],
    ['and by ed25519', closed, ['--user=ed', '--password=secret', ...certificate], /^with-tls\ted@%\tin\n$/],
    ['without the certificate', closed, named, /ERROR 2026 .*certificate required/],
    ['by a wrong password', open, ['--user=app', '--password=wrong'], /ERROR 1045 .*using password: YES/],
  ];
  for (const [name, host, options, told] of cases) {
    const port = proxy.port(host === open ? 'open' : 'closed');
    const { stdout, stderr } = await ask(t, port, who, `--host=${host}`, ...options);
    assert.match(stdout + stderr, told, name);
  }
  const encrypted = "show session status like 'Ssl_version'";
  const { stdout } = await ask(
    t,
    proxy.port('closed'),
    encrypted,
    `--host=${closed}`,
    ...named,
    ...certificate,
  );
  assert.match(stdout, /TLSv1\.3/, 'towards the server too');
});

test('clients without TLS: refused with a word, or served where a route says so', async (t) => {
  const proxy = await startScene(t);
  const inPlain = ['--host=127.0.0.1', '--skip-ssl', ...named];
  const { stderr } = await run('mariadb', [
    '--no-defaults',
    `--port=${proxy.port('mysql')}`,
    ...inPlain,
    '-e',
    who,
  ]);
  assert.match(stderr, /ERROR 3159 \(HY000\).*--ssl/);
  for (const listener of ['mixed', 'unencrypted']) {
    const { stdout, stderr } = await run('mariadb', [
      '--no-defaults',
      '--skip-column-names',
      `--port=${proxy.port(listener)}`,
      ...inPlain,
      '-e',
      who,
    ]);
    assert.match(stdout + stderr, /^with-tls\tapp@%\tin\n$/, listener);
  }
});

test('passed through: accounts for which the server asks anew', async (t) => {
  const proxy = await startScene(t);
  const port = proxy.port('passed');
  const { stdout, stderr } = await ask(t, port, who, `--host=${open}`, '--user=ed', '--password=secret');
  assert.match(stdout + stderr, /^with-tls\ted@%\tin\n$/);
  // Its password is hashed with the greeting that it got, which was ours: `check` warns of it.
  const native = await ask(t, port, who, `--host=${open}`, ...named);
  assert.match(native.stderr, /ERROR 1045 .*using password: YES/);
});
