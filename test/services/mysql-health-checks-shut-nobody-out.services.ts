/**
 * MariaDB counts broken handshakes against their host, and shuts it out after `max_connect_errors`. A health check of type `mysql` adds
 * nothing to that count, whichever account it meets: none, or one of each built-in plugin. Loopback is never counted, so this takes another
 * address of this machine.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { type TestContext, test } from 'node:test';
import { closeWith } from '../../src/net/stream.ts';
import { Peek } from '../../src/peek/peek.ts';
import { protocols } from '../../src/protocols/table.ts';
import { eventually } from '../support/eventually.ts';
import { startMariadb } from './mariadb.ts';

const host = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

const counted = 'select coalesce(sum(sum_connect_errors), 0) from performance_schema.host_cache';

test('thirty checks of each account', { skip: host === undefined }, async (t) => {
  const { port, query } = await startMariadb(t, [
    '--bind-address=0.0.0.0',
    '--skip-name-resolve=0',
    '--performance-schema=on',
    '--max-connect-errors=5',
    '--plugin-load-add=auth_ed25519',
  ]);
  await query("create user app@'%' identified by 'secret'");
  const user = "create user penstock@'%'";
  const accounts: [name: string, sql: string, words: 'in' | 'refused'][] = [
    ['none', 'do 0', 'refused'],
    ['without a password', user, 'in'],
    ['mysql_native_password', `${user} identified by 'secret'`, 'refused'],
    ['ed25519', `${user} identified via ed25519 using password('secret')`, 'refused'],
    ['none, beside ed25519', "create user ed@'%' identified via ed25519 using password('x')", 'refused'],
  ];
  for (const [name, sql, words] of accounts) {
    await query(`drop user if exists penstock@'%'; ${sql}`);
    for (let count = 0; count < 30; count++) assert.equal(await checkOnce(t, port), words, name);
    assert.equal(await query(counted), '0', name);
  }

  // The measure works: five connections that end behind the greeting are counted.
  for (let count = 0; count < 5; count++) {
    const socket = await open(t, port);
    await once(socket, 'data');
    socket.write(Buffer.from([1, 0, 0, 1, 0]));
    await once(socket, 'close');
  }
  await eventually(async () => assert.equal(await query(counted), '5'));
  await assert.rejects(checkOnce(t, port), /error 1129/);
});

async function open(t: TestContext, port: number): Promise<Socket> {
  const socket = connect({ host, port });
  socket.on('error', () => {});
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

async function checkOnce(t: TestContext, port: number): Promise<'in' | 'refused'> {
  const socket = await open(t, port);
  const words = await protocols.mysql.check.run(new Peek(socket, 'upstream'), undefined, undefined);
  const closed = once(socket, 'close');
  closeWith(socket, words);
  await closed;
  return words ? 'in' : 'refused';
}
