// However a ClientHello is cut, by TCP or into TLS records, what is read is the same hello (promise 1 of the design),
// and never more than 64 KiB of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createHelloReader, type ReadHello } from '../../src/peek/client-hello.ts';
import {
  capturedHello,
  capturedNames,
  helloMessage,
  inRecords,
  record,
  serverName,
} from '../support/client-hellos.ts';

/** Offers every prefix in turn, as if each byte came alone; returns the answer and how many bytes it took. */
function drip(bytes: Buffer): { read: ReadHello; taken: number } | undefined {
  const reader = createHelloReader();
  for (let taken = 1; taken <= bytes.length; taken++) {
    const read = reader(bytes.subarray(0, taken));
    if (read) return { read, taken };
  }
  return undefined;
}

for (const name of capturedNames) {
  const bytes = capturedHello(name);
  const whole = createHelloReader()(bytes)!;

  test(`${name}: cut in two at any byte`, () => {
    const helloEnd = 5 + whole.message.length;
    for (let cut = 0; cut < helloEnd; cut++) {
      const reader = createHelloReader();
      assert.equal(reader(bytes.subarray(0, cut)), undefined);
      assert.deepEqual(reader(bytes), whole);
    }
  });

  test(`${name}: byte by byte, in one-byte records`, () => {
    const records = inRecords(whole.message, 1);
    assert.deepEqual(drip(records), { read: whole, taken: records.length });
  });
}

test('cut anyhow into records and segments', () => {
  const whole = createHelloReader()(capturedHello('chromium-156'))!;
  const cuts = fc.uniqueArray(fc.integer({ min: 1, max: whole.message.length - 1 }), { maxLength: 20 });
  const segments = fc.uniqueArray(fc.integer({ min: 1, max: 2200 }), { maxLength: 20 });
  fc.assert(
    fc.property(cuts, segments, fc.uint8Array({ maxLength: 30 }), (recordCuts, segmentCuts, rest) => {
      const edges = [0, ...recordCuts.sort((a, b) => a - b), whole.message.length];
      const records = edges.slice(1).map((end, index) => record(whole.message.subarray(edges[index], end)));
      const wire = Buffer.concat([...records, rest]);
      const reader = createHelloReader();
      let read: ReadHello | undefined;
      for (const end of [...segmentCuts.sort((a, b) => a - b), wire.length])
        read ??= reader(wire.subarray(0, end));
      assert.deepEqual(read, whole);
    }),
  );
});

test('what follows its record is not looked at', () => {
  const whole = createHelloReader()(capturedHello('node-26'))!;
  const followed = Buffer.concat([capturedHello('node-26'), Buffer.from('anything at all')]);
  assert.deepEqual(createHelloReader()(followed), whole);
  // Early data: records after the hello, as OpenSSL sends them.
  const early = capturedHello('openssl-early-data');
  assert.ok(early.length > createHelloReader()(early)!.message.length + 5);
});

/** A hello of exactly `bytes`, by way of padding (RFC 7685). */
function helloOf(bytes: number): Buffer {
  const bare = helloMessage({ extensions: [serverName('a.example'), [21, Buffer.alloc(0)]] }).length;
  const message = helloMessage({ extensions: [serverName('a.example'), [21, Buffer.alloc(bytes - bare)]] });
  assert.equal(message.length, bytes);
  return message;
}

test('64 KiB on the wire is read, one byte more is refused', () => {
  const headers = 4 * 5;
  const largest = inRecords(helloOf(65_536 - headers));
  assert.equal(largest.length, 65_536);
  assert.equal(createHelloReader()(largest)?.hello.sni, 'a.example');
  const larger = inRecords(helloOf(65_536 - headers + 1));
  assert.throws(() => createHelloReader()(larger), { code: 'ERR_CLIENT_HELLO_TOO_LARGE', side: 'client' });
});

test('an announced length that will not fit is refused at once', () => {
  const announcing = (length: number): Buffer =>
    record(Buffer.from([1, length >> 16, (length >> 8) & 255, length & 255]));
  assert.equal(createHelloReader()(announcing(65_000)), undefined);
  for (const length of [65_536, 100_000, 0xff_ff_ff]) {
    assert.throws(() => createHelloReader()(announcing(length)), { code: 'ERR_CLIENT_HELLO_TOO_LARGE' });
  }
});

test('a hello that fits only without its many record headers is refused before 64 KiB have come', () => {
  const wire = inRecords(helloOf(20_000), 1);
  const reader = createHelloReader();
  let taken = 0;
  assert.throws(
    () => {
      while (taken < wire.length) reader(wire.subarray(0, ++taken));
    },
    { code: 'ERR_CLIENT_HELLO_TOO_LARGE' },
  );
  assert.ok(taken <= 65_536, `${taken} bytes were taken`);
});
