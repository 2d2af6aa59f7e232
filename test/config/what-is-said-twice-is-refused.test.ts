/**
 * A ClientHello that says a thing twice, or in which a length contradicts another, is refused, whatever client it is of:
 * every extension of every hello of the corpus repeated, every name joined by a second, every length of a list put wrong.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createHelloReader } from '../../src/peek/client-hello.ts';
import { corpusFiles } from '../fuzz/corpus.ts';
import { type Extension, helloMessage, inRecords, serverName, vector } from '../support/client-hellos.ts';

type Taken = { readonly start: Buffer; readonly extensions: readonly Extension[] };

const all = corpusFiles('hellos', '.bin').map((wire) => takeApart(createHelloReader()(wire)!.message));

/** The message up to its extensions, without the header, and those. */
function takeApart(message: Buffer): Taken {
  let at = 4 + 2 + 32;
  at += 1 + message[at]!;
  at += 2 + message.readUInt16BE(at);
  at += 1 + message[at]!;
  const start = message.subarray(4, at);
  const extensions: Extension[] = [];
  for (at += 2; at < message.length; ) {
    const end = at + 4 + message.readUInt16BE(at + 2);
    extensions.push([message.readUInt16BE(at), message.subarray(at + 4, end)]);
    at = end;
  }
  return { start, extensions };
}

function read(start: Buffer, extensions: readonly Extension[]) {
  const bare = helloMessage({ extensions });
  // helloMessage without a session id and with two ciphers: its own start is of a known length.
  const own = 4 + 2 + 32 + 33 + 6 + 2;
  const body = Buffer.concat([start, bare.subarray(own)]);
  const header = Buffer.alloc(4);
  header.writeUInt32BE(0x01_00_00_00 + body.length);
  return createHelloReader()(inRecords(Buffer.concat([header, body])))?.hello;
}

const refused = { code: 'ERR_CLIENT_HELLO_INVALID', side: 'client' };
/** Of those with large tickets nothing can be doubled within 64 KiB. */
const hello = fc.constantFrom(
  ...all.filter(
    ({ extensions }) => extensions.length > 0 && extensions.every(([, data]) => data.length < 9000),
  ),
);

test('put together again, each is read as it was', () => {
  for (const { start, extensions } of all) {
    assert.deepEqual(
      read(start, extensions)?.extensions,
      extensions.map(([type]) => type),
    );
  }
});

test('an extension twice, in any places, with the same content or another', () => {
  const changed = fc.record({ hello, which: fc.nat(), place: fc.nat(), isSame: fc.boolean() });
  fc.assert(
    fc.property(changed, ({ hello: { start, extensions }, which, place, isSame }) => {
      const [type, data] = extensions[which % extensions.length]!;
      const again: Extension = [type, isSame ? data : Buffer.alloc(0)];
      const more = extensions.toSpliced(place % (extensions.length + 1), 0, again);
      assert.throws(() => read(start, more), refused);
    }),
    { numRuns: 1000 },
  );
});

test('a second name, whichever', () => {
  const name = fc.oneof(fc.domain(), fc.string({ unit: 'binary-ascii', maxLength: 30 }));
  fc.assert(
    fc.property(hello, name, name, ({ start, extensions }, one, other) => {
      const rest = extensions.filter(([type]) => type !== 0);
      assert.throws(() => read(start, [serverName(one, other), ...rest]), refused);
    }),
  );
});

test('a list that is longer or shorter than its extension says', () => {
  /** The types whose content is a list behind a length of so many bytes. */
  const lists: Readonly<Record<number, 1 | 2>> = { 0: 2, 10: 2, 13: 2, 16: 2, 43: 1 };
  const changed = fc.record({ hello, which: fc.nat(), by: fc.integer({ min: 1, max: 250 }) });
  fc.assert(
    fc.property(changed, ({ hello: { start, extensions }, which, by }) => {
      const places = [...extensions.keys()].filter((index) => extensions[index]![0] in lists);
      fc.pre(places.length > 0);
      const place = places[which % places.length]!;
      const [type, data] = extensions[place]!;
      const wrong = Buffer.from(data);
      const size = lists[type]!;
      wrong.writeUIntBE((wrong.readUIntBE(0, size) + by) % 256 ** size, 0, size);
      assert.throws(() => read(start, extensions.with(place, [type, wrong])), refused);
    }),
    { numRuns: 1000 },
  );
});

test('a length of the whole that is wrong by anything never makes another hello of the same bytes', () => {
  fc.assert(
    fc.property(hello, fc.integer({ min: -40, max: 40 }), ({ start, extensions }, by) => {
      fc.pre(by !== 0);
      const block = vector(
        2,
        Buffer.concat(
          extensions.map(([type, data]) =>
            Buffer.concat([Buffer.from([type >> 8, type & 255]), vector(2, data)]),
          ),
        ),
      );
      const total = block.readUInt16BE(0) + by;
      fc.pre(total >= 0 && total <= 0xffff);
      block.writeUInt16BE(total);
      const body = Buffer.concat([start, block]);
      const header = Buffer.alloc(4);
      header.writeUInt32BE(0x01_00_00_00 + body.length);
      assert.throws(() => createHelloReader()(inRecords(Buffer.concat([header, body]))), refused);
    }),
    { numRuns: 500 },
  );
});
