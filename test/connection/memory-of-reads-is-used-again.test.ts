/**
 * What upstreams send is read into memory that is used again: little of it into what all share, and only who receives much has a
 * buffer to itself, no longer than it is written.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createReader } from '../../src/net/reader.ts';

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
