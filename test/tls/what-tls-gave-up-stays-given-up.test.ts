/**
 * Versions before TLS 1.2, ciphers for export, without encryption or without authentication, RC4, DES, static RSA, CBC and
 * compression: offered alone they get the alert that says so, and nothing is dialled; offered beside good ones, the good
 * ones are taken. Hellos are made by hand, as no library offers these any more.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Extension,
  type HelloParts,
  helloMessage,
  inRecords,
  serverName,
  signatureAlgorithms,
  supportedGroups,
  supportedVersions,
} from '../support/client-hellos.ts';
import { rawClient } from '../support/raw-client.ts';
import { startTerminating } from '../support/terminating.ts';

const usual: Extension[] = [
  serverName('a.example'),
  supportedGroups(0x001d, 0x0017),
  [11, Buffer.from([1, 0])],
  signatureAlgorithms(0x0403, 0x0804, 0x0401),
];
const good = [0xc02b, 0xc02c];

const alert = (number: number): Buffer => Buffer.from([2, number]);

/** `alert` and `code` of each hello that has nothing good to offer. */
const refused: [what: string, hello: HelloParts, alert: number, code: string][] = [
  // Which has no alert of that name.
  ['SSL 3.0', { legacyVersion: 0x0300, ciphers: good, extensions: usual }, 40, 'ERR_TLS_VERSION_MISMATCH'],
  ['TLS 1.0', { legacyVersion: 0x0301, ciphers: good, extensions: usual }, 70, 'ERR_TLS_VERSION_MISMATCH'],
  ['TLS 1.1', { legacyVersion: 0x0302, ciphers: good, extensions: usual }, 70, 'ERR_TLS_VERSION_MISMATCH'],
  [
    'TLS 1.1 and 1.0, by extension',
    { ciphers: good, extensions: [...usual, supportedVersions(0x0302, 0x0301)] },
    70,
    'ERR_TLS_VERSION_MISMATCH',
  ],
  [
    'a fallback to TLS 1.2 by a client that knows better (RFC 7507)',
    { ciphers: [...good, 0x5600], extensions: usual },
    86,
    'ERR_TLS_HANDSHAKE',
  ],
  [
    'TLS 1.3 with compression',
    {
      compressions: [1, 0],
      ciphers: [0x1301],
      extensions: [...usual, supportedVersions(0x0304), [51, Buffer.from([0, 0])]],
    },
    47,
    'ERR_TLS_HANDSHAKE',
  ],
  [
    'compression alone',
    { compressions: [1], ciphers: good, extensions: usual },
    50,
    'ERR_CLIENT_HELLO_INVALID',
  ],
];
const ciphers: Record<string, number[]> = {
  'for export (FREAK, Logjam)': [0x0003, 0x0006, 0x0008, 0x000b, 0x0011, 0x0014, 0x0017, 0x0060],
  'without encryption': [0x0001, 0x0002, 0x003b, 0xc006, 0xc010, 0xc0b0],
  'without authentication': [0x0018, 0x001b, 0x0034, 0x006c, 0x00a6, 0xc015, 0xc018],
  'with RC4': [0x0004, 0x0005, 0xc007, 0xc011],
  'with DES (Sweet32)': [0x0009, 0x000a, 0x0013, 0x0016, 0xc008, 0xc012],
  'with static RSA (ROBOT)': [0x002f, 0x0035, 0x009c, 0x009d],
  'with CBC (Lucky 13)': [0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc027],
  'with finite-field Diffie-Hellman (D(HE)at)': [0x009e, 0x009f, 0xccaa],
};
for (const [what, suites] of Object.entries(ciphers)) {
  refused.push([`ciphers ${what}`, { ciphers: suites, extensions: usual }, 40, 'ERR_TLS_CIPHER_MISMATCH']);
}

for (const [what, hello, number, code] of refused) {
  test(`refused: ${what}`, async (t) => {
    const proxy = await startTerminating(t, { listeners: { one: [{}] } });
    const client = rawClient(t, proxy.port(), { allowHalfOpen: false });
    client.socket.write(inRecords(helloMessage(hello)));
    const { received } = await client.closed;
    assert.equal(received[0], 21, 'an alert, and nothing before it');
    assert.deepEqual(received.subarray(5, 7), alert(number));
    const line = await proxy.connectionLine();
    assert.equal(line['code'], code);
    assert.equal(proxy.upstream.accepted, 0);
  });
}

test('beside good ones, the good ones are taken, and TLS 1.3 leaves its mark against a downgrade', async (t) => {
  const proxy = await startTerminating(t, { listeners: { one: [{}] } });
  const bad = Object.values(ciphers).flat();
  const client = rawClient(t, proxy.port());
  client.socket.write(
    inRecords(helloMessage({ compressions: [1, 0], ciphers: [...bad, ...good], extensions: usual })),
  );
  // struct { ProtocolVersion server_version; Random random[32]; opaque session_id<0..32>; CipherSuite; uint8 compression_method; … }
  const message = (await client.until(5 + 4 + 2 + 32 + 1)).subarray(5);
  assert.equal(message[0], 2);
  assert.equal(message.readUInt16BE(4), 0x0303);
  assert.equal(message.subarray(30, 38).toString('latin1'), 'DOWNGRD\u0001');
  const cipher = 39 + (message[38] ?? 0);
  const whole = (await client.until(5 + cipher + 3)).subarray(5);
  assert.equal(whole.readUInt16BE(cipher), good[0]);
  assert.equal(whole[cipher + 2], 0);
});
