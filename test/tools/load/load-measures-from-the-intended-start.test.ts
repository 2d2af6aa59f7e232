/**
 * At a fixed rate `penstock load` measures from the moment at which a connection was to begin, not from when it could: when the
 * target stalls, all that were due meanwhile show it, and when the generator itself is late, that counts too (coordinated
 * omission). All bounds are lower ones: they hold on a slow machine.
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { load } from '../../support/load.ts';
import { tcpUpstream } from '../../support/upstream.ts';

const echo = (socket: Socket) => void socket.pipe(socket);

test('a target that stalls shows in every connection that was due meanwhile', async (t) => {
  const waiting: Socket[] = [];
  const { port } = await tcpUpstream(t, (socket) => {
    waiting.push(socket);
    // All wait for the last one.
    if (waiting.length === 30) for (const one of waiting) echo(one);
  });
  const figures = await load(port, '--plain', '-n', '30', '--rate', '100');
  const { first_byte, whole } = figures.latency_ms;
  assert.deepEqual([figures.connections, figures.errors.total], [30, 0]);
  // The first had waited for 29 intervals of 10 ms, the second for 28, ….
  assert.ok(first_byte.max! >= 285, `${first_byte.max}`);
  assert.ok(first_byte.mean! >= 140, `${first_byte.mean}`);
  assert.ok(whole.p50! >= 130, `${whole.p50}`);
});

test('a generator that is late does not begin to measure late', async (t) => {
  let turn = 0;
  const { port } = await tcpUpstream(t, (socket) => {
    // In the process of the generator: it cannot begin anything meanwhile.
    if (++turn === 3) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
    echo(socket);
  });
  const figures = await load(port, '--plain', '-n', '30', '--rate', '100');
  const { connect } = figures.latency_ms;
  assert.equal(figures.connections, 30);
  // Those that were due in the 300 ms began at their end.
  assert.ok(connect.max! >= 200, `${connect.max}`);
  assert.ok(connect.mean! >= 75, `${connect.mean}`);
});

test('all arrivals of the time that it runs are counted, also by several processes', async (t) => {
  const { port } = await tcpUpstream(t, echo);
  const one = await load(port, '--plain', '--rate', '200', '--duration', '250ms');
  assert.equal(one.connections + one.errors.total, 50);
  const two = await load(port, '--plain', '--rate', '200', '--duration', '250ms', '--processes', '2');
  assert.equal(two.connections + two.errors.total, 50);
});

test('what is open at the end is waited for, not left out', async (t) => {
  const { port } = await tcpUpstream(t, (socket) => {
    setTimeout(() => echo(socket), 300);
  });
  const figures = await load(port, '--plain', '--rate', '50', '--duration', '100ms');
  assert.deepEqual([figures.connections, figures.unfinished], [5, 0]);
  assert.ok(figures.latency_ms.first_byte.p50! >= 290);
});
