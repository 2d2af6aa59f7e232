/**
 * Ctrl-C in MariaDB's and MySQL's command lines ends their own query, which runs at one of two servers, through one of two workers; the
 * queries of others run on. It does so for connections of each kind: compressed ones, with a database, with a client certificate. The
 * servers know the clients' addresses by PROXY headers.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createAuthority } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';
import { startMariadb } from './mariadb.ts';
import { mysqlClient } from './mysql.ts';
import { launch, type Running } from './process.ts';
import { find, rootOf } from './programs.ts';

const own = await ownCertificate('localhost');
const clients = await createAuthority();
const credential = await clients.issue({ dns: ['app'], usage: 'client' });

type Mariadb = Awaited<ReturnType<typeof startMariadb>>;
type Scene = { readonly servers: readonly Mariadb[]; readonly penstock: Penstock };

async function startScene(t: TestContext): Promise<Scene> {
  const servers = [await startMariadb(t), await startMariadb(t)];
  for (const { query } of servers) {
    await query("create user app@'%' identified by 'secret'; create user stranger@'%'");
  }
  const penstock = await startPenstock(
    t,
    {
      workers: 2,
      ...own.sections,
      authorities: { ...own.sections.authorities, clients: { ca: 'clients.crt' } },
      listeners: {
        mysql: {
          bind: '127.0.0.1:0',
          starttls: 'mysql',
          routes: [
            {
              tls: { certificates: 'own', client_auth: { authority: 'clients', mode: 'request' } },
              upstream: 'mysql',
            },
          ],
        },
      },
      upstreams: {
        mysql: {
          endpoints: servers.map(({ port }) => `127.0.0.1:${port}`),
          send_proxy_protocol: 'v2',
          health_check: { type: 'mysql', interval: '200ms' },
        },
      },
    },
    {
      files: {
        ...own.files,
        'clients.crt': clients.cert,
        'ca.crt': own.authority.cert,
        'client.crt': credential.chain,
        'client.key': credential.key,
      },
    },
  );
  return { servers, penstock };
}

type Cli = { readonly program: string; readonly options: readonly string[] };
const mariadb: Cli = { program: 'mariadb', options: ['--ssl-verify-server-cert'] };

/** Any of MariaDB's, and MySQL's own where it was unpacked. */
function commandLines(): Cli[] {
  const path = find(mysqlClient);
  const plugins = path && `--plugin-dir=${rootOf(path)}/usr/lib/mysql/plugin`;
  const newer: Cli = { program: newerMariadb, options: mariadb.options };
  return [
    mariadb,
    ...(find(newerMariadb) ? [newer] : []),
    ...(plugins ? [{ program: mysqlClient, options: ['--ssl-mode=VERIFY_IDENTITY', plugins] }] : []),
  ];
}
const newerMariadb = 'unpacked:usr/bin/mariadb';

function sleep({ penstock }: Scene, { program, options: own }: Cli, ...options: string[]): Running {
  const args = [
    '--no-defaults',
    '--protocol=tcp',
    '--host=localhost',
    `--port=${penstock.port('mysql')}`,
    '--skip-column-names',
    '--ssl-ca=ca.crt',
    ...own,
    ...options,
    '--execute=select sleep(300)',
  ];
  return launch(program, args, { cwd: penstock.directory });
}

const sleeping = (user: string) =>
  `select count(*) from information_schema.processlist where user = '${user}' and info like 'select sleep%'`;

/** How many of this user's queries run, at all servers. */
async function running({ servers }: Scene, user: string): Promise<number> {
  const counts = await Promise.all(servers.map(({ query }) => query(sleeping(user))));
  return counts.reduce((sum, count) => sum + Number(count), 0);
}

const named = ['--user=app', '--password=secret'];
const ways: Record<string, string[]> = {
  'by password': named,
  'by password, at the other server': named,
  compressed: [...named, '--compress'],
  'with a database': [...named, '--database=information_schema'],
  'with a client certificate': [...named, '--ssl-cert=client.crt', '--ssl-key=client.key'],
  'once more': named,
};

test('Ctrl-C in command lines', async (t) => {
  const scene = await startScene(t);
  // They are everywhere, and their numbers are those of others elsewhere.
  const strangers = Array.from({ length: 6 }, () => sleep(scene, mariadb, '--user=stranger'));
  t.after(() => strangers.map(({ child }) => child.kill('SIGKILL')));
  await eventually(async () => assert.equal(await running(scene, 'stranger'), 6), 30_000);
  let count = 0;
  for (const cli of commandLines()) {
    for (const [name, options] of Object.entries(ways)) {
      await t.test(`${cli.program}, ${name}`, async () => {
        const session = sleep(scene, cli, ...options);
        await eventually(async () => assert.equal(await running(scene, 'app'), 1), 30_000);
        session.child.kill('SIGINT');
        const { stdout, stderr } = await session.finished;
        assert.match(stdout + stderr, /Query execution was interrupted|^1$/m);
        assert.equal(await running(scene, 'app'), 0);
        assert.equal(await running(scene, 'stranger'), 6);
        count += 1;
      });
    }
  }
  await eventually(() => {
    const forwarded = scene.penstock.log().filter(({ msg }) => msg === 'cancel request forwarded');
    assert.equal(forwarded.length, count);
  });
});
