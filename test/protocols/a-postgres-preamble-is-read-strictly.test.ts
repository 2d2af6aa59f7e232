/**
 * Proves that what a PostgreSQL client sends ahead of TLS is told apart in any pieces and within bounds, that what a
 * server answers is taken only if it is exactly one "S", and that our ErrorResponse has the bytes drivers read.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ProxyError } from '../../src/errors.ts';
import {
  acceptSsl,
  errorResponse,
  readPreamble,
  readSslAnswer,
  refuse,
  sslRequest,
} from '../../src/protocols/postgres/preamble.ts';
import { moreChangesNothing } from '../support/strict.ts';

/** Int32 length, Int32 code, and the rest. */
function message(code: number, rest: Uint8Array = Buffer.alloc(0), length = 8 + rest.length): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(length, 0);
  head.writeUInt32BE(code, 4);
  return Buffer.concat([head, rest]);
}

const startup = message(196608, Buffer.from('user\0app\0database\0orders\0\0'));
const cancel = (key: number) => message(80877102, Buffer.alloc(4 + key, 7));

describe('what a client sends first', () => {
  // `needs`: how many bytes tell.
  const valid: [name: string, bytes: Buffer, needs: number, expected: object][] = [
    ['SSLRequest', message(80877103), 8, { kind: 'ssl_request', length: 8 }],
    ['GSSENCRequest', message(80877104), 8, { kind: 'gss_request', length: 8 }],
    ['CancelRequest, a key of 4', cancel(4), 16, { kind: 'cancel', length: 16, message: cancel(4) }],
    ['CancelRequest, a key of 32', cancel(32), 44, { kind: 'cancel', length: 44, message: cancel(32) }],
    ['CancelRequest, a key of 256', cancel(256), 268, { kind: 'cancel', length: 268, message: cancel(256) }],
    ['StartupMessage 3.0', startup, 8, { kind: 'startup', length: 0 }],
    ['StartupMessage 3.2', message(0x30002, Buffer.alloc(1)), 8, { kind: 'startup', length: 0 }],
    ['StartupMessage 3.9999', message(0x3270f, Buffer.alloc(1)), 8, { kind: 'startup', length: 0 }],
    ['StartupMessage 2.0', message(0x20000, Buffer.alloc(288)), 8, { kind: 'startup', length: 0 }],
    ['the longest StartupMessage', message(196608, undefined, 10000), 8, { kind: 'startup', length: 0 }],
    ['a ClientHello', Buffer.from('160301', 'hex'), 1, { kind: 'tls', length: 0 }],
  ];
  for (const [name, bytes, needs, expected] of valid) {
    test(name, () => {
      assert.deepEqual(readPreamble(bytes), expected);
      assert.deepEqual(readPreamble(Buffer.concat([bytes, Buffer.from('more')])), expected);
      for (let cut = 0; cut < bytes.length; cut++) {
        assert.deepEqual(
          readPreamble(bytes.subarray(0, cut)),
          cut < needs ? undefined : expected,
          `cut at ${cut}`,
        );
      }
    });
  }

  const hostile: [name: string, bytes: Buffer][] = [
    ['an HTTP request', Buffer.from('G')],
    ['a Query', Buffer.from('Q')],
    ['an SSLv2 hello', Buffer.from('802e', 'hex')],
    ['an alert', Buffer.from('15', 'hex')],
    ['a length of 16 MB', Buffer.from('01000008', 'hex')],
    ['a length of 64 KB, by its second byte', Buffer.from('0001', 'hex')],
    ['a length of 0', Buffer.alloc(4)],
    ['a length of 7', Buffer.from('00000007', 'hex')],
    ['a length beyond the bound', Buffer.from('00002711', 'hex')],
    ['an SSLRequest that is longer', message(80877103, Buffer.alloc(1))],
    ['a GSSENCRequest that is longer', message(80877104, Buffer.alloc(1))],
    ['a CancelRequest with a key of 3', cancel(3)],
    ['a CancelRequest with a key of 257', message(80877102, undefined, 8 + 4 + 257)],
    ['an unknown request', message(80877105)],
    ['protocol 1.0', message(0x10000)],
    ['protocol 2.1', message(0x20001)],
    ['protocol 4.0', message(0x40000)],
  ];
  for (const [name, bytes] of hostile) {
    test(`refused: ${name}`, () => {
      assert.throws(
        () => readPreamble(bytes),
        (error) =>
          error instanceof ProxyError && error.code === 'ERR_STARTTLS_INVALID' && error.side === 'client',
      );
    });
  }

  test('whatever arrives: an answer, more is needed, or refused; and more bytes never change an answer', () => {
    const code = fc.oneof(fc.constantFrom(80877102, 80877103, 80877104, 196608, 0x20000), fc.nat());
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map(Buffer.from),
      fc
        .tuple(code, fc.uint8Array({ maxLength: 300 }), fc.nat({ max: 11000 }))
        .map((parts) => message(...parts)),
      fc.tuple(code, fc.uint8Array({ maxLength: 300 })).map((parts) => message(...parts)),
    );
    const read = (part: Buffer) => {
      const preamble = readPreamble(part);
      assert(preamble !== undefined || part.length < 268);
      return preamble;
    };
    moreChangesNothing(read, bytes, { numRuns: 2000 });
  });
});

describe('what we say', () => {
  test('requests and answers', () => {
    assert.deepEqual(sslRequest, message(80877103));
    assert.deepEqual(readPreamble(sslRequest), { kind: 'ssl_request', length: 8 });
    assert.equal(acceptSsl.toString(), 'S');
    assert.equal(refuse.toString(), 'N');
  });

  test('an ErrorResponse', () => {
    const fields = 'SFATAL\0VFATAL\0C28000\0MTLS is required\0\0';
    const expected = Buffer.from(`E\0\0\0\x2b${fields}`);
    assert.equal(expected.length, 1 + 0x2b);
    assert.deepEqual(errorResponse('28000', 'TLS is required'), expected);
  });

  test('an ErrorResponse with a hint, its length in bytes rather than characters', () => {
    const fields = Buffer.from('SFATAL\0VFATAL\0C08P01\0Mé\0Huse sslmode=require\0\0');
    const bytes = errorResponse('08P01', 'é', 'use sslmode=require');
    assert.equal(bytes.readUInt32BE(1), bytes.length - 1);
    assert.deepEqual(bytes.subarray(5), fields);
  });

  test('a zero byte in a text makes no further field', () => {
    assert.deepEqual(errorResponse('28000', 'a\0Hb'), errorResponse('28000', 'aHb'));
  });
});

describe('what a server answers to SSLRequest', () => {
  test('nothing yet', () => assert.equal(readSslAnswer(Buffer.alloc(0)), undefined));
  test('"S" and no more', () => assert.equal(readSslAnswer(Buffer.from('S')), 'accepted'));

  const refused = 'ERR_UPSTREAM_STARTTLS_REFUSED';
  const nonsense = 'ERR_UPSTREAM_STARTTLS_INVALID';
  const bad: [name: string, bytes: Buffer, code: string][] = [
    ['"N"', Buffer.from('N'), refused],
    ['"N" and more', Buffer.from('NS'), refused],
    ['an ErrorResponse', errorResponse('08P01', 'unsupported frontend protocol'), refused],
    ['the first byte of an ErrorResponse', Buffer.from('E'), refused],
    ['"S" with bytes ahead of the handshake', Buffer.from('SR\0\0\0\x08\0\0\0\0', 'latin1'), nonsense],
    ['"S" twice', Buffer.from('SS'), nonsense],
    ['lower case', Buffer.from('s'), nonsense],
    ['a greeting of another protocol', Buffer.from('220 smtp\r\n'), nonsense],
    ['an AuthenticationOk', Buffer.from('R\0\0\0\x08\0\0\0\0', 'latin1'), nonsense],
  ];
  for (const [name, bytes, code] of bad) {
    test(`refused: ${name}`, () => assert.throws(() => readSslAnswer(bytes), { code, side: 'upstream' }));
  }

  test('whatever arrives, only "S" is accepted', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 4 }), (bytes) => {
        fc.pre(!(bytes.length === 1 && bytes[0] === 0x53));
        assert.throws(() => readSslAnswer(Buffer.from(bytes)), ProxyError);
      }),
    );
  });
});
