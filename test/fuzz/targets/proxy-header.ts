/** PROXY headers, v1 and v2: who the client is said to be. */
import assert from 'node:assert/strict';
import { isIPv4, isIPv6, SocketAddress } from 'node:net';
import { crc32c } from '../../../src/proxy-protocol/crc32c.ts';
import {
  decodeProxyHeader,
  maxProxyHeaderLength,
  type ProxyHeader,
} from '../../../src/proxy-protocol/decode.ts';
import { assertFinal, assertSame, type Outcome, outcomeOf } from '../outcome.ts';
import type { Target } from '../target.ts';

const signature = '0d0a0d0a000d0a515549540a';
const ipv4 = 'c0000201cb007107d2c11538';
const ipv6 = `20010db8${'00'.repeat(11)}01${'00'.repeat(10)}ffffc0000201d2c11538`;

export const target: Target = {
  name: 'proxy-header',
  seeds: () => [
    ...[
      'PROXY TCP4 192.0.2.1 203.0.113.7 56324 443\r\n',
      'PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 1 65535\r\nGET',
      'PROXY UNKNOWN\r\n',
      'PROXY UNKNOWN ffff::ffff ffff::ffff 65535 65535\r\n',
    ].map((line) => Buffer.from(line)),
    ...[
      `2111000c${ipv4}`,
      `21210024${ipv6}`,
      `211100${(12 + 5 + 7 + 4).toString(16)}${ipv4}010002683203000400000000040001ff`,
      `213100d8${'2f72756e'.padEnd(432, '0')}`,
      '20000000',
      '21000003ffffff',
    ].map((hex) => Buffer.from(signature + hex, 'hex')),
  ],
  tokens: [
    ...[
      'PROXY ',
      'TCP4 ',
      'TCP6 ',
      'UNKNOWN',
      '\r\n',
      ' ',
      '::',
      '::ffff:',
      '255.255.255.255',
      '0',
      '65535',
      '65536',
      '%eth0',
    ].map((word) => Buffer.from(word)),
    ...[
      signature,
      '21',
      '20',
      '11',
      '21',
      '31',
      '000c',
      '0024',
      '00d8',
      ipv4,
      '030004',
      '040000',
      '05000401020304',
    ].map((hex) => Buffer.from(hex, 'hex')),
  ],
  maxLength: maxProxyHeaderLength + 100,
  repair,
  check,
};

function check(bytes: Buffer): void {
  const ours = read(bytes);
  assertFinal(bytes, ours, read);
  if ('refused' in ours) return;
  if (ours.value === undefined) {
    assert.ok(bytes.length < maxProxyHeaderLength, 'nothing is decided, however much has come');
    return;
  }
  const { client, length } = ours.value;
  assert.ok(length > 0 && length <= Math.min(bytes.length, maxProxyHeaderLength));
  assertSame(read(bytes.subarray(0, length)), ours, 'it needs bytes that are not its own');
  assertSame(read(bytes.subarray(0, length - 1)), { value: undefined }, 'it does not need its last byte');
  if (client === undefined) return;
  assert.ok(Number.isInteger(client.port) && client.port >= 0 && client.port <= 65535);
  const header = bytes.subarray(0, length);
  assertSame(client, bytes[0] === 0x50 ? plainV1(header) : plainV2(header), 'the plain reader differs');
}

function read(bytes: Buffer): Outcome<ProxyHeader | undefined> {
  return outcomeOf(() => decodeProxyHeader(bytes), 'client', ['ERR_PROXY_HEADER_INVALID']);
}

/** The client that a good line names. Fails for any other line. */
function plainV1(header: Buffer): { address: string; port: number } {
  const [, family, source = '', destination = '', port] =
    /^PROXY TCP([46]) (\S+) (\S+) (0|[1-9]\d*) (?:0|[1-9]\d*)\r\n$/.exec(header.toString('latin1')) ?? [];
  const isAddress = family === '4' ? isIPv4 : isIPv6;
  assert.ok(isAddress(source) && isAddress(destination), 'that is no v1 header');
  return { address: plainAddress(source), port: Number(port) };
}

function plainV2(header: Buffer): { address: string; port: number } {
  assert.equal(header.length, 16 + header.readUInt16BE(14));
  const family = header[13]! >> 4;
  if (family === 3) return { address: 'unix', port: 0 };
  if (family === 1) return { address: header.subarray(16, 20).join('.'), port: header.readUInt16BE(24) };
  assert.equal(family, 2);
  const text = header.toString('hex', 16, 32).replace(/(.{4})(?=.)/g, '$1:');
  return { address: plainAddress(text), port: header.readUInt16BE(48) };
}

/** One spelling for each address; IPv4 within IPv6 is IPv4. */
function plainAddress(text: string): string {
  if (isIPv4(text)) return text;
  const { address } = new SocketAddress({ address: text, family: 'ipv6' });
  const within = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address)?.[1];
  return within ?? new URL(`http://[${address}]`).hostname.slice(1, -1);
}

/** The length of a v2 header, and its CRC32C if the last TLV is one. */
function repair(bytes: Buffer): Buffer {
  if (bytes[0] !== 0x0d || bytes.length < 16 || bytes.length > maxProxyHeaderLength) return bytes;
  bytes.writeUInt16BE(bytes.length - 16, 14);
  const at = bytes.indexOf(Buffer.from([3, 0, 4]), 28);
  if (at === -1 || at + 7 > bytes.length) return bytes;
  bytes.writeUInt32BE(0, at + 3);
  bytes.writeUInt32BE(crc32c(bytes), at + 3);
  return bytes;
}
