/**
 * A loop that stands still (a collection, a stopped process, a suspended machine) finds a time-out due together with the answers that
 * came meanwhile. What was there in time counts: it is read before anyone is blamed.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { LightAbortSignal } from '../../src/net/abort-signal.ts';
import { Deadline, untilAborted } from '../../src/upstream/deadline.ts';
import { eventually } from '../support/eventually.ts';
import { tcpUpstream } from '../support/upstream.ts';

function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

test('a connection that the kernel had made in time is no time-out', async (t) => {
  const { port } = await tcpUpstream(t);
  const deadline = new Deadline(50, new LightAbortSignal(), () => new Error('too late'));
  const socket = connect(port, '127.0.0.1');
  t.after(() => socket.destroy());
  const connected = untilAborted(once(socket, 'connect'), deadline);
  standStill(200);
  await connected;
  deadline.stop();
});

test('without an answer it is one', async () => {
  const deadline = new Deadline(50, new LightAbortSignal(), () => new Error('too late'));
  standStill(200);
  await eventually(() => assert.match(String(deadline.reason), /too late/));
});

test('stopped while it looks once more, it never aborts', async () => {
  const deadline = new Deadline(50, new LightAbortSignal(), () => new Error('too late'));
  // Behind its timer, and before the last look.
  const stopped = new Promise<void>((resolve) => setTimeout(() => resolve(deadline.stop()), 50));
  standStill(200);
  await stopped;
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(deadline.aborted, false);
});
