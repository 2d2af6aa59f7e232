/**
 * Proves that greetings of MySQL's servers and the answers of its clients are read alike in any pieces and within bounds, that whatever else
 * arrives is refused, and that a login reaches the server with nothing changed but what has to be.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { can, common } from '../../src/protocols/mysql/capabilities.ts';
import { encodeGreeting, greetingIn, readGreeting } from '../../src/protocols/mysql/greeting.ts';
import { encodePacket, maxPayload } from '../../src/protocols/mysql/packets.ts';
import { encodeLogin, readAnswer } from '../../src/protocols/mysql/response.ts';
import { greetingOf, headOf, loginOf, serverNonce } from '../support/mysql.ts';
import { moreChangesNothing } from '../support/strict.ts';

// As MariaDB 10.11.19 of Debian 12 says it, with TLS.
const mariadb = Buffer.from(
  '640000000a352e352e352d31302e31312e31392d4d6172696144422d302b646562313275310004000000304b694e2d345e5c00feff080200ff81150000000000001d00000036344439322e2d38704e7522006d7973716c5f6e61746976655f70617373776f726400',
  'hex',
);

describe('the greeting of a server', () => {
  test('MariaDB’s, in any pieces', () => {
    for (let cut = 0; cut < mariadb.length; cut++) {
      assert.equal(readGreeting(mariadb.subarray(0, cut)), undefined, `cut at ${cut}`);
    }
    assert.deepEqual(readGreeting(Buffer.concat([mariadb, Buffer.from('more')])), mariadb);
    const { version, threadId, plugin, nonce, capabilities } = greetingIn(mariadb);
    assert.deepEqual(
      [version, threadId, plugin, nonce.length],
      ['5.5.5-10.11.19-MariaDB-0+deb12u1', 4, 'mysql_native_password', 20],
    );
    assert.ok(capabilities & can.ssl && !(capabilities & can.longPassword));
  });

  test('another plugin, and none', () => {
    assert.equal(greetingIn(greetingOf({ plugin: 'caching_sha2_password' })).plugin, 'caching_sha2_password');
    const old = greetingIn(greetingOf({ capabilities: common & ~can.pluginAuth }));
    assert.deepEqual([old.plugin, old.nonce], ['mysql_native_password', serverNonce]);
  });

  test('ours, which has a nonce of its own', () => {
    const ours = { version: '8.0.11', threadId: 4711, capabilities: common };
    const [one, other] = [1, 2].map(() => encodeGreeting(ours));
    assert.ok(one && other && !one.equals(other));
    assert.deepEqual(readGreeting(one), one);
    const { version, threadId, capabilities, nonce } = greetingIn(one);
    assert.deepEqual([version, threadId, capabilities, nonce.length], ['8.0.11', 4711, common, 20]);
    assert.ok(!nonce.includes(0));
  });

  const hostile: [name: string, bytes: Buffer, code: string][] = [
    ['another protocol', Buffer.from('220 mx.example ESMTP\r\n'), 'INVALID'],
    ['a wrong number', encodePacket(1, greetingOf().subarray(4)), 'INVALID'],
    ['another version', encodePacket(0, Buffer.from('\x09x\0')), 'INVALID'],
    ['nothing', encodePacket(0, Buffer.from('\n')), 'INVALID'],
    ['no end of its version', encodePacket(0, Buffer.from(`\n${'x'.repeat(80)}`)), 'INVALID'],
    ['too short', encodePacket(0, greetingOf().subarray(4, 40)), 'INVALID'],
    ['far too long', encodePacket(0, Buffer.from(`\n${'x'.repeat(5000)}`)), 'INVALID'],
    ['a length without end', Buffer.from([0xff, 0xff, 0xff, 0]), 'INVALID'],
    ['an error', encodePacket(0, Buffer.from('\xff\x10\x04Too many connections', 'latin1')), 'REFUSED'],
    ['an empty error', encodePacket(0, Buffer.from([0xff])), 'REFUSED'],
  ];
  for (const [name, bytes, code] of hostile) {
    test(`refused: ${name}`, () => {
      const expected = { code: `ERR_UPSTREAM_STARTTLS_${code}`, side: 'upstream' };
      assert.throws(() => readGreeting(bytes), expected);
    });
  }
});

const login = encodePacket(1, loginOf(common, 'secret', serverNonce));
const request = encodePacket(1, headOf(common));

describe('the answer of a client', () => {
  test('a request for TLS, whose ClientHello may follow at once', () => {
    for (let cut = 0; cut < request.length; cut++)
      assert.equal(readAnswer(request.subarray(0, cut), 1), undefined);
    const hello = Buffer.concat([request, Buffer.from([0x16, 0x03])]);
    for (const bytes of [request, hello]) {
      const answer = readAnswer(bytes, 1);
      assert.deepEqual([answer?.kind, answer?.length], ['ssl_request', 36]);
    }
  });

  test('a login, in any pieces', () => {
    for (let cut = 0; cut < login.length; cut++)
      assert.equal(readAnswer(login.subarray(0, cut), 1), undefined);
    const answer = readAnswer(login, 1);
    assert(answer?.kind === 'login');
    const { user, database, attributes } = answer.login;
    assert.deepEqual([user, database].map(String), ['app', 'orders']);
    assert.equal(attributes.toString('latin1'), '\x0c\x05_name\x05tests');
    assert.equal(answer.login.zstdLevel, 7);
  });

  test('a login goes to the server with its own proof, and is otherwise the same', () => {
    const answer = readAnswer(login, 1);
    assert(answer?.kind === 'login');
    const proof = Buffer.alloc(250, 'p');
    const said = { capabilities: common & ~can.ssl, plugin: 'parsec', proof };
    const anew = encodeLogin(2, answer.login, said);
    const again = readAnswer(anew, 2);
    assert(again?.kind === 'login');
    const { head, capabilities, ...rest } = answer.login;
    assert.deepEqual(again.login.head.subarray(4), head.subarray(4));
    assert.equal(again.login.capabilities, common & ~can.ssl);
    for (const [key, value] of Object.entries(rest)) assert.deepEqual(again.login[key as 'user'], value, key);
    assert.ok(anew.includes(Buffer.concat([Buffer.from([250]), proof, Buffer.from('orders\0parsec\0')])));
  });

  const hostile: [name: string, bytes: Buffer, code: string][] = [
    ['a ClientHello', Buffer.from('1603010200010001fc0303', 'hex'), 'INVALID'],
    ['HTTP', Buffer.from('GET / HTTP/1.0\r\n\r\n'), 'INVALID'],
    ['PostgreSQL', Buffer.from('0000000804d2162f', 'hex'), 'INVALID'],
    ['a wrong number', encodePacket(2, loginOf(common, 'secret', serverNonce)), 'INVALID'],
    ['protocol 4.0', encodePacket(1, Buffer.from('\x05\xa2\x00\x00\x00app\0')), 'INVALID'],
    [
      'no capability of plugins',
      encodePacket(1, loginOf(common & ~can.pluginAuth, 'x', serverNonce)),
      'INVALID',
    ],
    ['a login without TLS or user', encodePacket(1, headOf(common & ~can.ssl)), 'INVALID'],
    ['no end of the user', encodePacket(1, Buffer.concat([headOf(common), Buffer.from('app')])), 'INVALID'],
    [
      'a proof beyond the end',
      encodePacket(1, Buffer.concat([headOf(common), Buffer.from('app\0\x50short')])),
      'INVALID',
    ],
    [
      'a length that no packet has',
      encodePacket(1, Buffer.concat([headOf(common), Buffer.from('app\0\xfe', 'latin1')])),
      'INVALID',
    ],
    [
      'attributes beyond the end',
      encodePacket(1, Buffer.concat([headOf(common), Buffer.from('app\0\0db\0plugin\0\x40a')])),
      'INVALID',
    ],
    ['a packet too long', encodePacket(1, Buffer.alloc(maxPayload + 1)).subarray(0, 4), 'INVALID'],
    ['a login behind the request', Buffer.concat([request, login]), 'STUFFED'],
    ['one byte behind the request', Buffer.concat([request, Buffer.from([0])]), 'STUFFED'],
  ];
  for (const [name, bytes, code] of hostile) {
    test(`refused: ${name}`, () => {
      assert.throws(() => readAnswer(bytes, 1), { code: `ERR_STARTTLS_${code}`, side: 'client' });
    });
  }

  test('whatever arrives: an answer, more is needed, or refused; and more bytes never change that', () => {
    const payload = fc.oneof(
      fc.uint8Array({ maxLength: 80 }).map(Buffer.from),
      fc
        .tuple(fc.uint8Array({ maxLength: 60 }), fc.integer({ min: 0, max: 0xffff }))
        .map(([tail, bits]) => Buffer.concat([headOf(common ^ bits), Buffer.from(tail)])),
    );
    const packet = payload.map((said) => encodePacket(1, said));
    moreChangesNothing((part) => readAnswer(part, 1), packet);
  });
});
