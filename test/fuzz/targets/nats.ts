/** What NATS says ahead of TLS: the INFO of a server, which clients of ours read rewritten, and what clients say first. */
import assert from 'node:assert/strict';
import { encodeInfo, infoFor, infoIn, maxInfo, readInfo } from '../../../src/protocols/nats/info.ts';
import { readFirst } from '../../../src/protocols/nats/meeting.ts';
import { assertFinal, outcomeOf } from '../outcome.ts';
import type { Target } from '../target.ts';

export const target: Target = {
  name: 'nats',
  seeds: () => [
    encodeInfo({
      server_id: 'S',
      version: '2.9.10',
      tls_required: true,
      nonce: 'abc',
      connect_urls: ['a:1'],
    }),
    encodeInfo({ tls_available: true, tls_verify: true, client_id: 9_007_199_254_740_991, __proto__: null }),
    Buffer.from('INFO {"a":{"b":[1,2.5e3,null,"\\u0000"]}}\r\nPING\r\n'),
    Buffer.from("-ERR 'maximum connections exceeded'\r\n"),
    Buffer.from('CONNECT {"verbose":false}\r\nPING\r\n'),
  ],
  tokens: [
    'INFO ',
    '{',
    '}',
    '"tls_required":true',
    '"tls_available":false',
    '\r\n',
    '\n',
    'CONNECT ',
    'PING\r\n',
  ].map((word) => Buffer.from(word)),
  maxLength: 40_000,
  check(bytes) {
    checkInfo(bytes);
    checkClient(bytes);
  },
};

function checkInfo(bytes: Buffer): void {
  const read = (part: Buffer) =>
    outcomeOf(() => readInfo(part), 'upstream', ['ERR_UPSTREAM_STARTTLS_INVALID']);
  const ours = read(bytes);
  assertFinal(bytes, ours, read);
  if (!('value' in ours)) return;
  if (ours.value === undefined) {
    assert.ok(bytes.length < maxInfo);
    return;
  }
  const line = ours.value as Buffer;
  for (const isSecure of [true, false]) {
    const rewritten = infoFor(line, isSecure);
    // Written anew it may be longer: characters that are none, and short forms of long numbers.
    if (rewritten.length <= maxInfo)
      assert.deepEqual(readInfo(rewritten), rewritten, 'what a client reads is one line of INFO');
    const { tls_required, tls_available, tls_verify, ...rest } = infoIn(rewritten);
    assert.deepEqual(
      [tls_required, tls_available, tls_verify],
      [isSecure || undefined, undefined, undefined],
    );
    const { tls_required: _, tls_available: __, tls_verify: ___, ...before } = infoIn(line);
    // Numbers that JSON cannot write again (1e999, -0) are no server's.
    assert.deepEqual(rest, JSON.parse(JSON.stringify(before)));
  }
}

function checkClient(bytes: Buffer): void {
  const read = (part: Buffer) => outcomeOf(() => readFirst(part), 'client', ['ERR_STARTTLS_INVALID']);
  const ours = read(bytes);
  assertFinal(bytes, ours, read);
  if ('value' in ours && ours.value === undefined) assert.ok(bytes.length < 8);
}
