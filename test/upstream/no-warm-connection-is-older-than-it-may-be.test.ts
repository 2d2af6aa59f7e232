/** Warm connections that nobody takes are made anew before `max_age` is over; they end in the way of a client that leaves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { recorder, warmProxy } from '../support/warm.ts';

test('one in whose place no other can be made', async (t) => {
  const upstream = await recorder(t);
  await warmProxy(t, upstream, { warm: { connections: 2, max_age: '400ms' } });
  await upstream.opened(2);
  upstream.server.close();
  const made = upstream.accepted.length;
  await upstream.opened(0);
  assert.equal(upstream.accepted.length, made);
});

test('a connection that nobody takes', async (t) => {
  const upstream = await recorder(t);
  const proxy = await warmProxy(t, upstream, { warm: { connections: 2, max_age: '400ms' } });
  await upstream.opened(2);
  const errors: Error[] = [];
  for (const { socket } of upstream.accepted) socket.on('error', (error) => errors.push(error));
  await eventually(() => assert.ok(upstream.accepted.slice(0, 2).every(({ hasEnded }) => hasEnded)), 10_000);
  await upstream.opened(2);
  await eventually(() => assert.ok(upstream.accepted.length >= 6), 10_000);
  assert.deepEqual(errors, []);
  assert.ok(upstream.accepted.every(({ received }) => received === ''));
  // It was we who closed them.
  assert.ok(!proxy.log.some(({ msg }) => msg.includes('closed a warm connection')));
});
