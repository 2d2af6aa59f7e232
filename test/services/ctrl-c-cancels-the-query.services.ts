/**
 * Ctrl-C in psql ends the running query in all three modes: its CancelRequest, plain and on a connection of its own, finds
 * the server that has the session. From an address without a session, even the right key cancels nothing.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { eventually } from '../support/eventually.ts';
import { type Postgres, psqlArguments } from './postgres.ts';
import { launch } from './process.ts';
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
