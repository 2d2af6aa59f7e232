/**
 * Ctrl-C in psql ends the running query in all three modes: its CancelRequest, plain and on a connection of its own, finds
 * the server that has the session. From an address without a session, even the right key cancels nothing.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { startProxy } from '../support/proxy.ts';
import { closedPort } from '../support/upstream.ts';
import { type Postgres, psql, psqlArguments, startPostgres } from './postgres.ts';
import { launch, ordinaryUser, serve } from './process.ts';
import { modes, startThreeModes } from './three-modes.ts';

test('cancelling through penstock', async (t) => {
  const setup = await startThreeModes(t);
  const { proxy, port, server, conninfo } = setup;

  for (const mode of modes) {
    await t.test(`${mode}: Ctrl-C`, async () => {
      const name = `sleeper-${mode}`;
      const info = conninfo(mode, { application_name: name });
      const session = launch('psql', [...psqlArguments(info), '-c', 'select pg_sleep(60)']);
      await running(server(mode), name);
      session.child.kill('SIGINT');
      const { code, stderr } = await session.finished;
      assert.match(stderr, /ERROR: {2}canceling statement due to user request/);
      assert.equal(code, 1);
    });
  }

  await t.test(
    'the right key from an address without a session is refused, and from the client’s it works',
    async (t) => {
      const { client, sleep } = await sleeper(t, setup);
      await running(server('terminated'), 'sleeper-pg');
      const request = cancelRequest(client);
      await sendFrom('127.0.0.2', port, request);
      const refused = await proxy.connectionLine((line) => line['code'] === 'ERR_CANCEL_REFUSED');
      assert.match(String(refused['client']), /^127\.0\.0\.2:/);
      assert.equal(refused['endpoint'], undefined);
      await running(server('terminated'), 'sleeper-pg');

      await sendFrom('127.0.0.1', port, request);
      await assert.rejects(sleep, /canceling statement due to user request/);
    },
  );
});

test('Ctrl-C reaches a query behind PgBouncer, which forgets a request whose sender has ended', async (t) => {
  const server = await startPostgres(t);
  const bouncer = await startPgBouncer(t, server.port);
  const own = await ownCertificate('db.example.test');
  const proxy = await startProxy(
    t,
    {
      ...own.sections,
      listeners: {
        databases: { starttls: 'postgres', routes: [{ tls: { certificates: 'own' }, upstream: 'bouncer' }] },
      },
      upstreams: { bouncer: { endpoints: [`127.0.0.1:${bouncer}`] } },
    },
    own.files,
  );
  const info = `host=127.0.0.1 port=${proxy.port()} user=app dbname=postgres sslmode=require application_name=bounced`;
  for (let round = 0; round < 3; round += 1) {
    const session = launch('psql', [...psqlArguments(info), '-c', 'select pg_sleep(60)']);
    await running(server, 'bounced');
    session.child.kill('SIGINT');
    const { code, stderr } = await session.finished;
    assert.match(stderr, /canceling statement due to user request/);
    assert.equal(code, 1);
  }
});

/** PgBouncer before the server at this port; resolves with its own. */
async function startPgBouncer(t: TestContext, behind: number): Promise<number> {
  const directory = temporaryDirectory(t);
  const port = await closedPort();
  const settings = [
    '[databases]',
    `postgres = host=127.0.0.1 port=${behind}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = trust',
    `auth_file = ${directory}/users`,
    '',
  ];
  writeFiles(directory, { 'pgbouncer.ini': settings.join('\n'), users: '"app" ""\n' });
  const user = ordinaryUser('postgres', 'nobody');
  chmodSync(directory, 0o755);
  for (const name of ['pgbouncer.ini', 'users']) chmodSync(`${directory}/${name}`, 0o644);
  await serve(t, 'pgbouncer', [`${directory}/pgbouncer.ini`], {
    user,
    cwd: directory,
    ready: async () => {
      const asked = await psql(`host=127.0.0.1 port=${port} user=app dbname=postgres`, ['-c', 'select 1']);
      assert.equal(asked.code, 0, asked.stderr);
    },
    signal: 'SIGINT',
  });
  return port;
}

/** Waits until the server runs a query of this application. */
async function running(server: Postgres, application: string): Promise<void> {
  const sql = `select count(*) from pg_stat_activity where application_name = '${application}' and state = 'active'`;
  await eventually(async () => assert.equal(await server.query(sql), '1'), 20_000);
}

/** A session of the `pg` client that sleeps; unlike psql, it tells its key. */
async function sleeper(
  t: TestContext,
  { port, client: credential, serverCa }: Awaited<ReturnType<typeof startThreeModes>>,
) {
  const client = new pg.Client({
    host: '127.0.0.1',
    port,
    user: 'app',
    database: 'postgres',
    application_name: 'sleeper-pg',
    ssl: { ca: serverCa, cert: credential.cert, key: credential.key, servername: 'terminated.example.test' },
  });
  await client.connect();
  t.after(() => client.end());
  const sleep = client.query('select pg_sleep(60)');
  // Looked at later, when it may have failed already.
  sleep.catch(() => {});
  return { client, sleep };
}

/** Int32 length 16, Int32 80877102, Int32 process ID, Int32 secret key. */
function cancelRequest(client: pg.Client): Buffer {
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const message = Buffer.alloc(16);
  message.writeInt32BE(16, 0);
  message.writeInt32BE(80877102, 4);
  message.writeInt32BE(processID, 8);
  message.writeInt32BE(secretKey, 12);
  return message;
}

async function sendFrom(localAddress: string, port: number, message: Buffer): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', localAddress });
  socket.end(message);
  socket.resume();
  await once(socket, 'close');
}
