/**
 * What a server answers to `penstock probe` is a stranger's: whatever it sends, cut, mutated or made up, is told as an answer
 * and never an exception; a flight read in pieces is the same; and a hello says what it was told to, as our own parser and
 * OpenSSL read it.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { createHelloReader } from '../../../src/peek/client-hello.ts';
import { type Offer, writeHello } from '../../../src/peek/write-hello.ts';
import { decryptMessages, handshakeSecretIn } from '../../../src/tools/probe/engine/decrypt.ts';
import { readAnswer } from '../../../src/tools/probe/engine/flight.ts';
import { identify } from '../../../src/tools/probe/engine/identify.ts';
import { createAuthority } from '../../support/certificates.ts';
import { handshake, record, uint16s } from '../../support/client-hellos.ts';
import { tlsUpstream } from '../../support/tls-upstream.ts';

const offer: Offer = {
  versions: [0x0304, 0x0303],
  ciphers: [0x1301, 0x1302, 0xc02b, 0xc02f],
  groups: [29, 23],
  signatureAlgorithms: [0x0403, 0x0804],
  name: 'db.example',
  alpn: ['postgresql', 'h2'],
};

/** What a real server sends of TLS 1.2, which is all in the clear. */
let flight: Buffer;
let retry: Buffer;
before(async (t) => {
  const ca = await createAuthority({ name: 'Client CA' });
  const server = await tlsUpstream(t as never, await ca.issue({ dns: ['db.example'] }), {
    requestCert: true,
    ca: ca.cert,
    ALPNProtocols: ['postgresql'],
  });
  flight = await received(server.port, { ...offer, versions: [0x0303] });
  retry = await received(server.port, { ...offer, ciphers: [0x1302] });
});

async function received(port: number, asked: Offer): Promise<Buffer> {
  const socket = connectTcp({ port, host: '127.0.0.1' });
  socket.write(writeHello(asked));
  let bytes: Buffer = Buffer.alloc(0);
  while (readAnswer(bytes) === undefined) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    bytes = Buffer.concat([bytes, chunk]);
  }
  socket.destroy();
  return bytes;
}

test('a whole flight of TLS 1.2, and a HelloRetryRequest', () => {
  const answer = readAnswer(flight);
  assert.ok(answer?.kind === 'flight');
  const { certificates, request, ...rest } = answer;
  assert.deepEqual(rest, { kind: 'flight', version: 0x0303, cipher: 0xc02b, group: 29, alpn: 'postgresql' });
  assert.equal(new X509Certificate(certificates[0] ?? '').subjectAltName, 'DNS:db.example');
  assert.equal(request?.authorities.length, 1);
  const asked = readAnswer(retry);
  assert.ok(asked?.kind === 'flight');
  assert.deepEqual([asked.version, asked.cipher, asked.group], [0x0304, 0x1302, 29]);
});

test('a flight cut short is not whole, wherever it is cut', () => {
  for (let length = 0; length < flight.length; length++) {
    assert.equal(readAnswer(flight.subarray(0, length)), undefined, `${length} of ${flight.length} bytes`);
  }
});

test('what comes behind its end is no part of it, even in the same segment', () => {
  // struct { ProtocolVersion; Random; opaque session_id<0..32>; CipherSuite; CompressionMethod; } ServerHello;
  const hello = Buffer.concat([
    uint16s([0x0303]),
    Buffer.alloc(32, 7),
    Buffer.of(0),
    uint16s([0xc02b]),
    Buffer.of(0),
  ]);
  const whole = record(Buffer.concat([handshake(2, hello), handshake(14, Buffer.alloc(0))]));
  // CertificateRequest: types, algorithms, authorities
  const late = record(handshake(13, Buffer.concat([Buffer.of(1, 64), uint16s([2, 0x0403, 0])])));
  const answer = readAnswer(whole);
  assert.ok(answer?.kind === 'flight');
  assert.deepEqual(readAnswer(Buffer.concat([whole, late])), answer);
});

test('no bytes make it throw', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
        // A record of a ServerHello that goes on as anything.
        fc.uint8Array({ minLength: 4, maxLength: 200 }).map((bytes) => {
          const body = Buffer.from([2, 0, 0, bytes.length, ...bytes]);
          return Buffer.concat([Buffer.from([22, 3, 3, 0, body.length]), body]);
        }),
        // The real flight with some bytes changed.
        fc.array(fc.tuple(fc.nat(4000), fc.nat(255)), { minLength: 1, maxLength: 5 }).map((changes) => {
          const bytes = Buffer.from(flight);
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          return bytes;
        }),
      ),
      (bytes) => {
        const answer = readAnswer(bytes);
        assert.ok(answer === undefined || typeof answer.kind === 'string');
        assert.ok(identify(bytes).message.length < 200);
        assert.deepEqual(decryptMessages(Buffer.alloc(0), bytes, 'TLS_AES_128_GCM_SHA256'), []);
      },
    ),
    { numRuns: 2000 },
  );
});

test('another protocol is told by its first byte, and a flight without an end has one', () => {
  assert.deepEqual(readAnswer(Buffer.from('HTTP/1.1 400')), { kind: 'not_tls' });
  assert.deepEqual(readAnswer(Buffer.from([22, 2])), { kind: 'not_tls' });
  assert.deepEqual(readAnswer(Buffer.from([21, 3, 1, 0, 2, 2, 40])), { kind: 'alert', alert: 40 });
  assert.equal(readAnswer(Buffer.from([22, 3, 3, 0xff, 0xff]))?.kind, 'malformed');
  const endless = Buffer.concat(
    Array.from({ length: 300 }, () => Buffer.concat([Buffer.from([22, 3, 3, 4, 0]), Buffer.alloc(1024, 2)])),
  );
  assert.equal(readAnswer(endless)?.kind, 'malformed');
});

test('a hello says what it was told to', () => {
  const number = fc.integer({ min: 1, max: 0xffff }).filter((value) => (value & 0x0f0f) !== 0x0a0a);
  const numbers = fc.uniqueArray(number, { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(
      numbers,
      numbers,
      numbers,
      fc.option(fc.domain(), { nil: undefined }),
      (ciphers, groups, signatures, name) => {
        const asked: Offer = { ...offer, ciphers, groups, signatureAlgorithms: signatures, name };
        const read = createHelloReader()(writeHello(asked));
        assert.ok(read);
        assert.deepEqual(read.hello.versions, asked.versions);
        assert.deepEqual(read.hello.ciphers, ciphers);
        assert.deepEqual(read.hello.groups, groups);
        assert.deepEqual(read.hello.signatureAlgorithms, signatures);
        assert.equal(read.hello.sni, name?.toLowerCase());
        assert.deepEqual(read.hello.alpn, asked.alpn);
      },
    ),
  );
  const old = createHelloReader()(writeHello({ ...offer, versions: [0x0302] }));
  assert.equal(old?.hello.legacyVersion, 0x0302);
  assert.deepEqual(old.hello.versions, []);
});

test('the secret of a key log is that of the server’s handshake', () => {
  const line = (label: string) => `${label} ${'ab'.repeat(32)} ${'cd'.repeat(32)}\n`;
  assert.equal(handshakeSecretIn(line('SERVER_HANDSHAKE_TRAFFIC_SECRET'))?.toString('hex'), 'cd'.repeat(32));
  assert.equal(handshakeSecretIn(line('CLIENT_HANDSHAKE_TRAFFIC_SECRET')), undefined);
  assert.equal(handshakeSecretIn('CLIENT_RANDOM ab cd'), undefined);
});
