/**
 * Proves that the packets of TDS and its PRELOGIN are read within bounds and in any pieces, that each wish for TLS gets its answer, and that
 * the carrier of a handshake finds where that ends in whatever pieces its records come.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ProxyError } from '../../src/errors.ts';
import { ownOptions, readAnswer } from '../../src/protocols/mssql/ask.ts';
import { Records, unwrap, wrap } from '../../src/protocols/mssql/carrier.ts';
import { invalid, optionsOf, readFirst } from '../../src/protocols/mssql/meeting.ts';
import { encodePackets, headerLength, maxPacket, types } from '../../src/protocols/mssql/packets.ts';
import { encodePrelogin, encryptionIn, type Options, options } from '../../src/protocols/mssql/prelogin.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const prelogin = encodePrelogin(types.prelogin, ownOptions);
const isInvalid = (error: unknown) => error instanceof ProxyError && error.code === 'ERR_STARTTLS_INVALID';
const packetOf = (payload: string, status = '01'): Buffer => {
  const bytes = hex(`12 ${status} 0000 0000 01 00 ${payload}`);
  bytes.writeUInt16BE(bytes.length, 2);
  return bytes;
};
const read = (bytes: Buffer): Options => {
  const first = readFirst(bytes);
  assert(first !== undefined && first !== 'tls');
  return optionsOf(first);
};

describe('a packet', () => {
  test('is complete when its last byte is there, and what follows is not part of it', () => {
    for (let length = 0; length < prelogin.length; length++) {
      assert.equal(readFirst(prelogin.subarray(0, length)), undefined);
    }
    assert.deepEqual(read(Buffer.concat([prelogin, hex('16 03 01')])), ownOptions);
  });

  test('of a ClientHello is none', () => assert.equal(readFirst(hex('16')), 'tls'));

  const refused: [what: string, bytes: Buffer][] = [
    ['of another protocol', Buffer.from('E')],
    ['that only servers send', hex('04 01')],
    ['of more than 4096 bytes', hex('12 01 1001 0000 01 00')],
    ['without content', hex('12 01 0008 0000 01 00')],
    ['shorter than its header', hex('12 01 0000 0000 01 00')],
  ];
  for (const [what, bytes] of refused) {
    test(`${what} is refused as soon as that shows`, () => assert.throws(() => readFirst(bytes), isInvalid));
  }
});

describe('PRELOGIN', () => {
  const refused: [what: string, bytes: Buffer][] = [
    ['in several packets', packetOf('ff', '00')],
    ['without an end', packetOf('01 0006 0001 02')],
    ['with an option twice', packetOf('01 000b 0001 01 000b 0001 ff 02')],
    ['with a value behind its end', packetOf('01 0006 0002 ff 02')],
    ['with an option that is cut', packetOf('01 00')],
    [
      'with more options than there are',
      packetOf(
        Array.from({ length: 40 }, (_, index) => `${(0x20 + index).toString(16)} 0000 0000`).join(' '),
      ),
    ],
  ];
  for (const [what, bytes] of refused) {
    test(`${what} is refused`, () => assert.throws(() => read(bytes), isInvalid));
  }

  test('without a word on TLS asks for none, and flags beside the wish are no wish', () => {
    assert.equal(encryptionIn(new Map()), 2);
    assert.equal(encryptionIn(new Map([[options.encryption, Buffer.of(0x81)]])), 1);
  });

  test("a server's is read by its own type only", () => {
    const answered = encodePrelogin(types.answer, ownOptions);
    assert.equal(readAnswer(answered, 'ERR_UPSTREAM_STARTTLS_INVALID')?.read.said, 1);
    for (const bytes of [prelogin, hex('04 01 0009 0000 01 00 aa')]) {
      assert.throws(
        () => readAnswer(bytes, 'ERR_UPSTREAM_STARTTLS_INVALID'),
        (error) => error instanceof ProxyError && error.code === 'ERR_UPSTREAM_STARTTLS_INVALID',
      );
    }
  });
});

describe('the carrier', () => {
  test('brings whatever it is given, in packets that all can read', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 3 * maxPacket }), (bytes) => {
        const carried = wrap(Buffer.from(bytes));
        assert.deepEqual(unwrap(carried, invalid), Buffer.from(bytes));
        assert.ok(carried.length <= bytes.length + headerLength * Math.ceil(bytes.length / 4088));
      }),
    );
  });

  test('takes nothing but its packets', () => {
    for (const bytes of [hex('17 03 03'), encodePackets(types.answer, hex('16 03 03 00 00'))]) {
      assert.throws(() => unwrap(bytes, invalid), isInvalid);
      assert.throws(() => unwrap(Buffer.concat([wrap(hex('16 03 03')), bytes]), invalid), isInvalid);
    }
  });

  // A handshake message, ChangeCipherSpec, Finished; then application data, which is no longer carried.
  const carried = hex('16 0303 0003 aaaaaa 14 0303 0001 01 16 0303 0004 bbbbbbbb');
  const bare = hex('17 0303 0002 cccc');

  test('ends behind the Finished that follows ChangeCipherSpec, in any pieces', () => {
    const bytes = Buffer.concat([carried, bare]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: bytes.length }), { maxLength: 5 }), (cuts) => {
        const edges = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
        const records = new Records();
        const taken = edges.map((from, index) =>
          records.take(bytes.subarray(from, edges[index + 1] ?? from)),
        );
        assert.equal(
          taken.reduce((sum, one) => sum + one, 0),
          carried.length,
        );
        assert.equal(records.isFinished, true);
      }),
    );
  });

  test('does not end without ChangeCipherSpec', () => {
    const records = new Records();
    records.take(hex('16 0303 0001 aa 15 0303 0002 0100 16 0303 0000'));
    assert.equal(records.isFinished, false);
  });
});
