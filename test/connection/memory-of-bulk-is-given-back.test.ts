/**
 * Bulk leaves no memory to V8's next full collection: what was written is given back at once. TLS hands on several chunks in one
 * piece of memory, which may be of several connections; it is given back when all of it was written, and no byte sooner.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { Splice } from '../../src/splice/splice.ts';
import { eventually } from '../support/eventually.ts';
import { socketPair } from '../support/socket-pair.ts';

const skip = 'transfer' in ArrayBuffer.prototype ? false : 'Node 20 cannot give memory back';
const off = Number.POSITIVE_INFINITY;
const quarter = 16 * 1024;

/** A splice whose upstream reads only when it is told to, and what the upstream got. */
async function splice(t: TestContext): Promise<{ client: Socket; read: () => void; got: () => Buffer }> {
  const [client, upstream] = [await socketPair(t, quarter), await socketPair(t, quarter)];
  const limits = { idle: off, halfClose: off, keepAlive: off };
  new Splice(sideOf(client.near), sideOf(upstream.near), { in: 0, out: 0 }, limits);
  const received: Buffer[] = [];
  upstream.far.pause().on('data', (chunk: Buffer) => received.push(chunk));
  return { client: client.near, read: () => void upstream.far.resume(), got: () => Buffer.concat(received) };
}

function sideOf(raw: Socket): { stream: Socket; raw: Socket } {
  return { stream: raw, raw };
}

/** Memory that begins as random bytes, and a view of each quarter of it. */
function memory(): { buffer: ArrayBuffer; quarters: Buffer[]; content: Buffer } {
  const buffer = new ArrayBuffer(4 * quarter);
  const content = randomBytes(4 * quarter);
  content.copy(Buffer.from(buffer));
  return { buffer, content, quarters: [0, 1, 2, 3].map((n) => Buffer.from(buffer, n * quarter, quarter)) };
}

test('a chunk with memory of its own', { skip }, async (t) => {
  const { client, read, got } = await splice(t);
  const { buffer, content } = memory();
  client.emit('data', Buffer.from(buffer));
  read();
  await eventually(() => assert.ok(got().equals(content)));
  await eventually(() => assert.ok(buffer.detached));
});

test('chunks that share memory, when the last of them was written', { skip }, async (t) => {
  const { client, read, got } = await splice(t);
  const { buffer, quarters, content } = memory();
  const early = quarters.slice(0, 3);
  for (const chunk of early) client.emit('data', chunk);
  read();
  await eventually(() => assert.equal(got().length, 3 * quarter));
  assert.ok(!buffer.detached);
  client.emit('data', quarters[3]);
  await eventually(() => assert.ok(got().equals(content)));
  await eventually(() => assert.ok(buffer.detached));
});

test('chunks of two connections, when the slower one has written its own', { skip }, async (t) => {
  const [fast, slow] = [await splice(t), await splice(t)];
  const { buffer, quarters, content } = memory();
  // More than the kernel takes, so that what comes behind it waits.
  const burden = Buffer.alloc(40 * 1024 * 1024);
  slow.client.emit('data', burden);
  slow.client.emit('data', quarters[1]);
  for (const n of [0, 2, 3]) fast.client.emit('data', quarters[n]);
  fast.read();
  await eventually(() => assert.equal(fast.got().length, 3 * quarter));
  assert.ok(!buffer.detached);
  slow.read();
  await eventually(() => assert.equal(slow.got().length, 40 * 1024 * 1024 + quarter));
  assert.ok(
    slow
      .got()
      .subarray(-quarter)
      .equals(content.subarray(quarter, 2 * quarter)),
  );
  await eventually(() => assert.ok(buffer.detached));
});

test('but not chunks of which another part is still to come', { skip }, async (t) => {
  const { client, read, got } = await splice(t);
  const { buffer, quarters } = memory();
  for (const n of [0, 1, 3]) client.emit('data', quarters[n]);
  read();
  await eventually(() => assert.equal(got().length, 3 * quarter));
  assert.ok(!buffer.detached);
});
