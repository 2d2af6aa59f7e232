/**
 * Where the system starts no process (the supervisor's descriptors are used up, here by clients of the admin endpoint), a dead
 * worker cannot be replaced: that is told, with the reason, and tried again until it can. Meanwhile the other worker serves,
 * and penstock obeys its signals; it has not come to a standstill for good.
 */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { startPenstock } from '../support/penstock.ts';
import { rawClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

/** Node 20 cannot load its modules with fewer. */
const openFiles = 128;

test('a worker dies while the supervisor has no descriptor left', { timeout: 120_000 }, async (t) => {
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const penstock = await startPenstock(
    t,
    {
      workers: 2,
      admin: { bind: '127.0.0.1:0' },
      listeners: { in: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'echo' }] } },
      upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
    },
    { openFiles },
  );
  const lines = (msg: string) => penstock.log().filter((line) => line.msg === msg);
  const admin = Number(String(lines('ready')[0]?.['admin']).split(':').at(-1));
  const crowd: Socket[] = [];
  const fill = () => {
    while (crowd.filter(({ destroyed }) => !destroyed).length < openFiles) {
      crowd.push(connect(admin, '127.0.0.1').on('error', () => {}));
    }
  };
  const timer = setInterval(fill, 50);
  fill();
  t.after(() => {
    clearInterval(timer);
    for (const socket of crowd) socket.destroy();
  });
  // Those that it has no room for are closed again.
  await eventually(() => assert.ok(crowd.some(({ destroyed }) => destroyed)), 20_000);

  process.kill(Number(lines('worker serving')[0]?.['worker_pid']), 'SIGKILL');
  await eventually(() => assert.ok(lines('a new worker could not start').length > 1), 20_000);
  assert.match(String(lines('a new worker could not start')[0]?.['faults']), /EMFILE/);
  const client = rawClient(t, penstock.port('in'));
  client.socket.end('ping');
  assert.equal((await client.closed).received.toString(), 'ping');

  clearInterval(timer);
  for (const socket of crowd) socket.destroy();
  await eventually(() => assert.equal(lines('worker serving').length, 3), 40_000);
  penstock.child.kill('SIGHUP');
  await eventually(() => assert.equal(lines('reloaded').length, 1), 20_000);
  penstock.child.kill('SIGTERM');
  assert.equal(await penstock.exited, 0);
});
