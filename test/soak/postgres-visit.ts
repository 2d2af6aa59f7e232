/** A PostgreSQL client (`pg`) that asks, compares, and now and then cancels. */
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { connect, Socket } from 'node:net';
import pg from 'pg';
import { cancelRequest } from '../support/postgres.ts';
import type { Credentials } from './credentials.ts';
import type { Ledger, Visit } from './ledger.ts';

const patienceMs = 120_000;

/** One session of a few queries, a kilobyte to 64 each; with `cancel` one that sleeps until Ctrl-C. */
export async function postgresVisit(
  port: number,
  { ca }: Credentials,
  ledger: Ledger,
  cancel: boolean,
): Promise<void> {
  const visit = ledger.begin('postgres', cancel ? 'cancel' : 'queries');
  const socket = new Socket();
  socket.once('connect', () => visit.ports.push(socket.localPort ?? 0));
  const client = new pg.Client({
    stream: () => socket,
    host: '127.0.0.1',
    port,
    user: 'soak',
    ssl: { ca: ca.cert, servername: 'pg.soak.example' },
    connectionTimeoutMillis: patienceMs,
    query_timeout: patienceMs,
  });
  let error: string | undefined;
  client.on('error', (thrown) => {
    error ??= thrown.message;
  });
  try {
    await client.connect();
    if (cancel) await cancelQuery(client, port, visit);
    for (let query = 0; query < 4; query++) await ask(client, visit);
    await client.end();
  } catch (thrown) {
    error ??= (thrown as Error).message;
    socket.destroy();
  }
  ledger.end(visit, error);
}

async function ask(client: pg.Client, { progress }: Visit): Promise<void> {
  const text = randomBytes(randomInt(512, 32 * 1024)).toString('hex');
  const { rows } = await client.query<{ said: string }>(text);
  if (rows[0]?.said !== text) throw new Error('the answer is not what was asked for');
  progress.up += text.length;
  progress.down += text.length;
}

async function cancelQuery(client: pg.Client, port: number, visit: Visit): Promise<void> {
  const { processID, secretKey } = client as pg.Client & { processID: number; secretKey: number };
  const key = Buffer.alloc(4);
  key.writeInt32BE(secretKey);
  const asleep = client.query('sleep').then(
    () => undefined,
    (error: { code?: string }) => error.code,
  );
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  visit.ports.push(socket.localPort ?? 0);
  socket.resume().end(cancelRequest(processID, key));
  const code = await asleep;
  socket.destroy();
  if (code !== '57014') throw new Error(`a cancelled query ended with ${code}`);
}
