/**
 * Reloads, new certificates and killed workers under load: no connection is refused or cut but those that a killed worker
 * had. Transfers in progress survive reloads and a drain byte for byte. `npm run test:churn` is the long form.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { runChurn } from '../support/churn.ts';
import { eventually } from '../support/eventually.ts';
import { startPenstock } from '../support/penstock.ts';
import { tcpUpstream } from '../support/upstream.ts';

const churn = { seconds: 3, connectionsPerSecond: 100, reloadsPerSecond: 10, rotateEvery: 0.5 };

test('reloads ten times a second lose no connection', async (t) => {
  const counts = await runChurn(t, churn);
  t.diagnostic(JSON.stringify(counts));
  assert.deepEqual(counts.lost, []);
  assert.equal(counts.served, counts.connections);
  assert.ok(counts.reloads > 2 && counts.certificatesSeen === 2, 'something was reloaded');
});

test('a killed worker loses only what it had', async (t) => {
  const counts = await runChurn(t, { ...churn, killEvery: 1 });
  t.diagnostic(JSON.stringify(counts));
  assert.deepEqual(counts.lost, []);
  assert.ok(counts.kills > 0 && counts.served > counts.kills, 'workers were killed, and others went on');
});

test('a hundred transfers survive reloads and a drain', async (t) => {
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const penstock = await startPenstock(t, {
    workers: 2,
    listeners: { bulk: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'echo' }] } },
    upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
  });
  const port = penstock.port('bulk');
  const gate = new EventEmitter().setMaxListeners(100);
  const transfers = Array.from({ length: 100 }, () => transfer(port, gate));
  await Promise.all(transfers.map(({ begun }) => begun));
  for (let count = 1; count <= 5; count += 1) {
    penstock.child.kill('SIGHUP');
    await eventually(() =>
      assert.equal(penstock.log().filter(({ msg }) => msg === 'reloaded').length, count),
    );
  }
  penstock.child.kill('SIGTERM');
  await eventually(() => assert.ok(penstock.log().some(({ msg }) => msg === 'draining')));
  gate.emit('go');
  for (const { sent, received } of await Promise.all(transfers.map(({ done }) => done))) {
    assert.equal(received, sent);
  }
  assert.equal(await penstock.exited, 0);
  assert.equal(penstock.log().find(({ msg }) => msg === 'stopped')?.['cut'], 0);
});

/** Sends half of a megabyte, waits for the gate, sends the rest, and reads all of it back. */
function transfer(port: number, gate: EventEmitter) {
  const payload = randomBytes(1024 * 1024);
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const hash = createHash('sha256');
  let received = 0;
  socket.on('data', (chunk) => {
    hash.update(chunk);
    received += chunk.length;
  });
  socket.write(payload.subarray(0, payload.length / 2));
  gate.once('go', () => socket.end(payload.subarray(payload.length / 2)));
  return {
    begun: eventually(() => assert.ok(received > 0), 20_000),
    done: once(socket, 'close').then(() => ({
      sent: createHash('sha256').update(payload).digest('hex'),
      received: hash.digest('hex'),
    })),
  };
}
