/** Proves that LDAP's messages are read within bounds and in any pieces, and that each request before TLS is answered as its kind demands. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readAnswer } from '../../src/protocols/ldap/ask.ts';
import { encode } from '../../src/protocols/ldap/ber.ts';
import { answerTo, readFirst } from '../../src/protocols/ldap/meeting.ts';
import {
  encodeMessage,
  encodeStartTls,
  type Message,
  maxMessage,
} from '../../src/protocols/ldap/messages.ts';
import { moreChangesNothing } from '../support/strict.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const startTls = encodeStartTls(Buffer.of(1));
const oid = Buffer.from('1.3.6.1.4.1.1466.20037');
const control = (isCritical: boolean) =>
  encode(
    0x30,
    encode(0x04, '2.16.840.1.113730.3.4.2'),
    ...(isCritical ? [encode(0x01, Buffer.of(0xff))] : []),
  );
const withControl = (isCritical: boolean) =>
  encode(
    0x30,
    encode(0x02, Buffer.of(1)),
    encode(0x77, encode(0x80, oid)),
    encode(0xa0, control(isCritical)),
  );

const read = (bytes: Buffer): Message => {
  const first = readFirst(bytes);
  assert(first !== undefined && first !== 'tls');
  return first;
};
const answer = (bytes: Buffer) => answerTo(read(bytes));

describe('a request for TLS', () => {
  test('has 31 bytes, or 60 with the control that Java adds', () => {
    assert.equal(startTls.length, 31);
    assert.equal(withControl(false).length, 60);
    for (const bytes of [startTls, withControl(false)]) {
      const words = hex('30 0c 02 01 01 78 07 0a 01 00 04 00 04 00');
      assert.deepEqual(answer(bytes), { kind: 'upgrade', words });
    }
  });

  test('may have lengths of four bytes, and a number of four', () => {
    const message = Buffer.concat([
      hex('30 84 00 00 00 26 02 04 7f ff ff ff 77 84 00 00 00 1a 80 84 00 00 00 16'),
      oid,
    ]);
    message.writeUInt32BE(message.length - 6, 2);
    message.writeUInt32BE(oid.length + 6, 14);
    assert.deepEqual(answer(message), {
      kind: 'upgrade',
      words: hex('30 0f 02 04 7f ff ff ff 78 07 0a 01 00 04 00 04 00'),
    });
  });

  const refused: [what: string, bytes: Buffer, code: number][] = [
    ['a critical control', withControl(true), 12],
    ['a value', encodeMessage(Buffer.of(1), encode(0x77, encode(0x80, oid), encode(0x81, 'x'))), 2],
    ['another name', encodeMessage(Buffer.of(1), encode(0x77, encode(0x80, '1.3.6.1.4.1.4203.1.11.3'))), 13],
  ];
  for (const [what, bytes, code] of refused) {
    test(`with ${what} is refused with result ${code}`, () => {
      const { kind, words } = answer(bytes);
      assert.equal(kind, 'refused');
      assert.deepEqual(words?.subarray(5, 6), Buffer.of(0x78));
      assert.deepEqual(words?.subarray(7, 10), Buffer.of(0x0a, 1, code));
    });
  }
});

test('each request is refused by a response of its kind; one to abandon another, by none', () => {
  const kinds = [
    [0x60, 0x61],
    [0x63, 0x65],
    [0x66, 0x67],
    [0x68, 0x69],
    [0x4a, 0x6b],
    [0x6c, 0x6d],
    [0x6e, 0x6f],
    [0x50, undefined],
  ] as const;
  for (const [request, response] of kinds) {
    const { kind, words } = answer(encodeMessage(Buffer.of(9), encode(request, 'x')));
    assert.deepEqual([kind, words?.[5], words?.[9]], ['refused', response, response && 13]);
  }
});

describe('refused', () => {
  const cases: [what: string, bytes: Buffer][] = [
    ['another protocol', Buffer.from('EHLO')],
    ['the indefinite length', hex('30 80 02 01 01')],
    ['a length of five bytes', hex('30 85 00 00 00 00 0c')],
    ['a message too long, at its head', hex(`30 84 ${(maxMessage + 1).toString(16).padStart(8, '0')}`)],
    ['a number below zero', hex('30 05 02 01 80 42 00')],
    ['a number of five bytes', hex('30 09 02 05 00 00 00 00 01 42 00')],
    ['no operation', hex('30 03 02 01 01')],
    ['an element that reaches beyond its message', hex('30 05 02 01 01 42 01')],
    ['bytes behind the controls', hex('30 09 02 01 01 42 00 a0 00 04 00')],
    ['a control without a type', hex('30 09 02 01 01 42 00 a0 02 30 00')],
  ];
  for (const [what, bytes] of cases) {
    test(what, () => assert.throws(() => readFirst(bytes), { code: 'ERR_STARTTLS_INVALID' }));
  }

  test('a response, and a request with the number 0', () => {
    for (const bytes of [hex('30 0c 02 01 01 78 07 0a 01 00 04 00 04 00'), encodeStartTls(Buffer.of(0))]) {
      assert.throws(() => answer(bytes), { code: 'ERR_STARTTLS_INVALID' });
    }
  });
});

test('an answer of a server is a yes for result 0 and our number alone', () => {
  const [refused, invalid] = ['ERR_UPSTREAM_STARTTLS_REFUSED', 'ERR_UPSTREAM_STARTTLS_INVALID'];
  const cases: [bytes: string, code: string | undefined][] = [
    ['30 0c 02 01 01 78 07 0a 01 00 04 00 04 00', undefined],
    ['30 0c 02 01 01 78 07 0a 01 02 04 00 04 00', refused],
    ['30 0c 02 01 00 78 07 0a 01 00 04 00 04 00', refused],
    ['30 0c 02 01 02 78 07 0a 01 00 04 00 04 00', invalid],
    ['30 0c 02 01 01 61 07 0a 01 00 04 00 04 00', invalid],
    ['30 07 02 01 01 78 02 04 00', invalid],
  ];
  for (const [bytes, code] of cases) {
    if (code === undefined) assert.equal(readAnswer(hex(bytes))?.length, 14);
    else assert.throws(() => readAnswer(hex(bytes)), { code }, bytes);
  }
});

test('whatever arrives: more bytes never change the answer', () => {
  const byte = fc.constantFrom(0x30, 0x02, 0x01, 0x00, 0x05, 0x81, 0x84, 0x42, 0xff);
  moreChangesNothing(readFirst, fc.array(byte, { maxLength: 30 }).map(Buffer.from));
});
