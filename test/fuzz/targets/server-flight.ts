/** What servers answer to `penstock probe`: a first flight in TLS, in clear and decrypted, or another protocol altogether. */
import assert from 'node:assert/strict';
import { Malformed } from '../../../src/peek/cursor.ts';
import { splitMessages } from '../../../src/peek/records.ts';
import { readAnswer, readEncrypted } from '../../../src/tools/probe/engine/flight.ts';
import { identify } from '../../../src/tools/probe/engine/identify.ts';
import { printName } from '../../../src/x509/certificate-names.ts';
import { handshake, record, uint16s, vector } from '../../support/client-hellos.ts';
import { corpusFiles } from '../corpus.ts';
import { assertSame } from '../outcome.ts';
import type { Target } from '../target.ts';

// Small ones, or hardly anything but a certificate would be changed.
const certificates = corpusFiles('certificates', '.der').filter((der) => der.length < 700);
const authority = Buffer.from('300d310b300906035504030c024341', 'hex');
const extension = (type: number, data: Buffer): Buffer => Buffer.concat([uint16s([type]), vector(2, data)]);

function vector24(data: Buffer): Buffer {
  const length = Buffer.alloc(3);
  length.writeUIntBE(data.length, 0, 3);
  return Buffer.concat([length, data]);
}

function serverHello(extensions: readonly Buffer[], random = Buffer.alloc(32, 0xbb)): Buffer {
  const head = [uint16s([0x0303]), random, vector(1, Buffer.alloc(32, 7)), uint16s([0xc02b]), Buffer.of(0)];
  return handshake(2, Buffer.concat([...head, vector(2, Buffer.concat(extensions))]));
}

const retryRandom = Buffer.from('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c', 'hex');
const alpn = extension(16, vector(2, vector(1, Buffer.from('postgresql'))));
const share = extension(51, Buffer.concat([uint16s([29]), vector(2, Buffer.alloc(32, 1))]));
const clear = Buffer.concat([
  serverHello([alpn, extension(23, Buffer.alloc(0))]),
  handshake(11, vector24(Buffer.concat(certificates.slice(0, 2).map((der) => vector24(der))))),
  handshake(12, Buffer.concat([Buffer.of(3, 0, 29), vector(1, Buffer.alloc(32, 2))])),
  handshake(
    13,
    Buffer.concat([vector(1, Buffer.of(64)), vector(2, uint16s([0x0403])), vector(2, vector(2, authority))]),
  ),
  handshake(14, Buffer.alloc(0)),
]);
const encrypted = Buffer.concat([
  handshake(8, vector(2, alpn)),
  handshake(
    13,
    Buffer.concat([vector(1, Buffer.alloc(0)), vector(2, extension(47, vector(2, vector(2, authority))))]),
  ),
  handshake(
    11,
    Buffer.concat([
      vector(1, Buffer.alloc(0)),
      vector24(Buffer.concat(certificates.map((der) => Buffer.concat([vector24(der), uint16s([0])])))),
    ]),
  ),
]);

export const target: Target = {
  name: 'server-flight',
  seeds: () => [
    record(clear),
    Buffer.concat([record(clear.subarray(0, 50)), record(clear.subarray(50))]),
    record(serverHello([extension(43, uint16s([0x0304])), share])),
    record(serverHello([extension(43, uint16s([0x0304])), extension(51, uint16s([23]))], retryRandom)),
    Buffer.from('15030300020228', 'hex'),
    encrypted,
    ...[
      'SSH-2.0-OpenSSH\r\n',
      'HTTP/1.1 400 Bad\r\n',
      '220 mail ESMTP\r\n',
      '-ERR unknown\r\n',
      'INFO {}\r\n',
    ].map((text) => Buffer.from(text)),
    Buffer.from('J\0\0\0\n8.0.33\0', 'latin1'),
  ],
  tokens: [
    ...[
      '160303',
      '150303',
      '170303',
      '002b00020304',
      '0033',
      '0010',
      '0e000000',
      '0b0000',
      '0d0000',
      '02000026',
    ],
    retryRandom.toString('hex'),
  ].map((hex) => Buffer.from(hex, 'hex')),
  maxLength: 30_000,
  repair,
  check(bytes) {
    checkAnswer(bytes);
    checkDecrypted(bytes);
    assert.match(identify(bytes).message, /^[ -~…]{1,200}$/);
  },
};

function checkAnswer(bytes: Buffer): void {
  const whole = readAnswer(bytes);
  if (whole?.kind === 'malformed') assert.match(whole.reason, /^[ -~]+$/);
  if (whole?.kind !== 'flight') return;
  assert.ok(
    [...whole.certificates, ...(whole.request?.authorities ?? [])].every((der) => bytes.includes(der)),
  );
  whole.request?.authorities.forEach(isPrintable);
  const cut = bytes.readUInt16BE(bytes.length - 2) % bytes.length;
  const early = readAnswer(bytes.subarray(0, cut));
  if (early?.kind === 'flight') assertSame(early, whole, 'with more it is another flight');
}

/** The same bytes as what a server of TLS 1.3 says behind its ServerHello. */
function checkDecrypted(bytes: Buffer): void {
  try {
    readEncrypted(splitMessages(bytes)).request?.authorities.forEach(isPrintable);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    assert.match(error.message, /^[ -~]+$/);
  }
}

function isPrintable(der: Buffer): void {
  assert.match(printName(der), /^[ -~]*$/);
}

/** The length of the first record, or of the message that it begins with. */
function repair(bytes: Buffer): Buffer {
  if (bytes.length < 9) return bytes;
  if (bytes[0] === 22 && bytes[1] === 3) bytes.writeUInt16BE(Math.min(bytes.length - 5, 16_384), 3);
  else if (bytes[0]! < 15) bytes.writeUIntBE(bytes.length - 4, 1, 3); // it has nine
  return bytes;
}
