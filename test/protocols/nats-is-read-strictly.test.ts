/**
 * Proves that INFO, and what a NATS client says first, are read alike in any pieces and within bounds, that a client of ours reads in the INFO
 * of a server what is true for it, and that nothing else in it changes.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { encodeInfo, infoFor, infoIn, maxInfo, readInfo } from '../../src/protocols/nats/info.ts';
import { readFirst } from '../../src/protocols/nats/meeting.ts';
import { moreChangesNothing } from '../support/strict.ts';

// As nats-server 2.9.10 says it.
const captured = Buffer.from(
  'INFO {"server_id":"NCJEP","server_name":"NCJEP","version":"2.9.10","proto":1,"go":"go1.19.8","host":"127.0.0.1","port":4222,"headers":true,"tls_required":true,"tls_verify":true,"max_payload":1048576,"client_id":5,"client_ip":"127.0.0.1","nonce":"rJq8x"} \r\n',
);

describe('INFO of a server', () => {
  test('in any pieces, with anything behind it', () => {
    for (let cut = 0; cut < captured.length; cut++) {
      assert.equal(readInfo(captured.subarray(0, cut)), undefined, `cut at ${cut}`);
    }
    assert.deepEqual(readInfo(captured), captured);
    assert.deepEqual(readInfo(Buffer.concat([captured, Buffer.from('PING\r\n')])), captured);
    assert.equal(infoIn(captured)['nonce'], 'rJq8x');
  });

  const hostile: [name: string, bytes: string][] = [
    ['another protocol', '220 mx.example ESMTP\r\n'],
    ['its first byte', 'S'],
    ['an error', "-ERR 'maximum connections exceeded'\r\n"],
    ['no space', 'INFO{"a":1}\r\n'],
    ['no JSON', 'INFO {"a":\r\n'],
    ['no object', 'INFO [1]\r\n'],
    ['null', 'INFO null\r\n'],
    ['nothing', 'INFO \r\n'],
    ['LF alone', 'INFO {"a":1}\n'],
    ['a line too long', `INFO {"a":"${'x'.repeat(maxInfo)}"}\r\n`],
    ['a line that does not end', `INFO {"a":"${'x'.repeat(maxInfo)}`],
  ];
  for (const [name, bytes] of hostile) {
    test(`refused: ${name}`, () => {
      assert.throws(() => readInfo(Buffer.from(bytes)), {
        code: 'ERR_UPSTREAM_STARTTLS_INVALID',
        side: 'upstream',
      });
    });
  }

  test('whatever arrives: a line, more is needed, or refused; and more bytes never change that', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 60 }).map(Buffer.from),
      fc.json().map((json) => Buffer.from(`INFO ${json.replaceAll(/[\r\n]/g, '')} \r\nmore`)),
    );
    moreChangesNothing(readInfo, bytes);
  });
});

describe('INFO as a client of ours reads it', () => {
  test('within TLS it asks for TLS, in plain text it knows of none; all else is the server’s', () => {
    const { tls_required, tls_verify, ...rest } = infoIn(captured);
    assert.ok(tls_required && tls_verify);
    assert.deepEqual(infoIn(infoFor(captured, true)), { ...rest, tls_required: true });
    assert.deepEqual(infoIn(infoFor(captured, false)), rest);
    const plain = encodeInfo({ a: 1, tls_available: true });
    assert.equal(infoFor(plain, true).toString(), 'INFO {"a":1,"tls_required":true} \r\n');
    assert.deepEqual(readInfo(infoFor(captured, true)), infoFor(captured, true));
  });
});

describe('what a client says first', () => {
  const plain = ['CONNECT {"verbose":false}\r\nPING\r\n', 'connect {}\r\n', 'PING\r\n'];
  for (const text of plain) {
    test(`plain: ${JSON.stringify(text)}`, () => {
      assert.deepEqual(readFirst(Buffer.from(text)), { kind: 'plain' });
      for (let cut = 0; cut < 6; cut++) assert.equal(readFirst(Buffer.from(text.slice(0, cut))), undefined);
    });
  }
  test('a ClientHello is known by its first byte', () => {
    assert.deepEqual(readFirst(Buffer.from([0x16])), { kind: 'tls' });
  });
  for (const text of [
    'GET / HTTP/1.0\r\n',
    'SUB a 1\r\n',
    'PONG\r\n',
    'CONNECTX',
    '\0\0\0\x08',
    'INFO {}\r\n',
  ]) {
    test(`refused: ${JSON.stringify(text)}`, () => {
      assert.throws(() => readFirst(Buffer.from(text)), { code: 'ERR_STARTTLS_INVALID', side: 'client' });
    });
  }
});
