/**
 * Bulk leaves no memory to V8's next full collection: what was written is given back at once. TLS hands on several chunks in one
 * piece of memory, which may be of several connections; it is given back when all of it was written, and no byte sooner.
 *
 * What upstreams send is read into memory that is used again: little of it into what all share, and only a connection that
 * receives much has a buffer to itself, no longer than until it is written.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createReader } from '../../src/net/reader.ts';
import { Splice } from '../../src/splice/splice.ts';
import { eventually } from '../support/eventually.ts';
import { socketPair } from '../support/socket-pair.ts';

const skip = 'transfer' in ArrayBuffer.prototype ? false : 'Node 20 cannot give memory back';
const off = Number.POSITIVE_INFINITY;
const quarter = 16 * 1024;

/** A splice whose upstream reads only when it is told to, and what the upstream got. */
async function splice(t: TestContext) {
  const [client, upstream] = [await socketPair(t, quarter), await socketPair(t, quarter)];
  const limits = { idle: off, halfClose: off, keepAlive: off };
  new Splice(sideOf(client.near), sideOf(upstream.near), { in: 0, out: 0 }, limits);
  const received: Buffer[] = [];
  upstream.far.pause().on('data', (chunk: Buffer) => received.push(chunk));
  return {
    client: client.near,
    read: () => void upstream.far.resume(),
    got: () => Buffer.concat(received),
    size: () => received.reduce((sum, { length }) => sum + length, 0),
  };
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
  await eventually(() => assert.equal(slow.size(), 40 * 1024 * 1024 + quarter), 30_000);
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

/** Reads as Node does: takes the buffer to read into, fills some of it, tells how much. */
function reading() {
  const reader = createReader();
  const delivered: { chunk: Buffer; done: (() => void) | undefined }[] = [];
  reader.deliver = (chunk, done) => delivered.push({ chunk, done });
  const next = reader.onread.buffer as () => Buffer;
  let buffer = next();
  return {
    delivered,
    isReadingInto: () => buffer,
    read(length: number, byte: string) {
      buffer.fill(byte, 0, length);
      reader.onread.callback(length, buffer);
      buffer = next();
    },
  };
}

const full = 64 * 1024;

test('little is copied out of what all share', () => {
  const [one, other] = [reading(), reading()];
  assert.equal(one.isReadingInto(), other.isReadingInto());
  one.read(100, 'a');
  other.read(100, 'b');
  assert.equal(one.isReadingInto(), other.isReadingInto());
  assert.equal(one.delivered[0]?.chunk.toString(), 'a'.repeat(100));
});

test('much is read into a buffer that nobody else has until it is written', () => {
  const [one, other] = [reading(), reading()];
  for (const it of [one, other]) for (const byte of ['x', 'y', 'z']) it.read(full, byte);
  other.read(full, '-');
  // The first read of each filled what all share, and was copied.
  assert.equal(one.delivered[0]?.done, undefined);
  const buffers = [...one.delivered, ...other.delivered].map(({ chunk }) => chunk.buffer);
  assert.equal(new Set(buffers).size, buffers.length);
  assert.equal(one.delivered.map(({ chunk }) => chunk[full - 1]).join(), [...Buffer.from('xyz')].join());
});

test('it is used again once it is written, and given up when little comes', () => {
  const it = reading();
  const shared = it.isReadingInto();
  it.read(full, 'a');
  const own = it.isReadingInto();
  assert.notEqual(own, shared);
  it.read(full, 'b');
  assert.notEqual(it.isReadingInto(), own);
  it.delivered[1]?.done?.();
  it.read(full, 'c');
  assert.equal(it.isReadingInto(), own);
  it.read(10, 'd');
  assert.equal(it.isReadingInto(), shared);
  assert.equal(it.delivered.at(-1)?.chunk.toString(), 'd'.repeat(10));
});
