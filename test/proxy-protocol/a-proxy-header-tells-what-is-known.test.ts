/**
 * Proves that the PROXY header sent to an upstream has the bytes that the specification asks for, made by hand here;
 * that our own decoder and another library read it back; and that what is unknown is left out rather than made up.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { IPv4ProxyAddress, V1ProxyProtocol, V2ProxyProtocol } from 'proxy-protocol-js';
import type { ProxyProtocolOut } from '../../src/config/schema/schema.ts';
import { normalizeAddress } from '../../src/net/address.ts';
import { crc32c } from '../../src/proxy-protocol/crc32c.ts';
import { decodeProxyHeader } from '../../src/proxy-protocol/decode.ts';
import { encodeProxyHeader, type ProxyFacts } from '../../src/proxy-protocol/encode.ts';

const v1: ProxyProtocolOut = { version: 'v1', tlvs: [] };
const v2 = (...tlvs: ProxyProtocolOut['tlvs']): ProxyProtocolOut => ({ version: 'v2', tlvs });
const v2WithAll = v2('crc32c', 'ssl', 'unique_id', 'authority', 'alpn'); // the order of the file does not matter

const four = { address: '192.0.2.1', port: 53953 };
const fourLocal = { address: '203.0.113.7', port: 5432 };
const six = { address: '2001:db8::1', port: 53953 };
const sixLocal = { address: '2001:db8:0:1::2', port: 5432 };
const unix = { address: 'unix', port: 0 };
const facts: ProxyFacts = { client: four, local: fourLocal, uniqueId: 'c1' };

const hex = (text: string) => text.replaceAll(/\s/g, '');
const text = (value: string) => Buffer.from(value).toString('hex');
const signature = '0d0a0d0a000d0a515549540a';
const addresses = 'c0000201 cb007107 d2c1 1538';
/** The TLVs of a v2 header over IPv4. */
const tlvsOf = (header: Buffer) => header.subarray(28).toString('hex');

describe('addresses', () => {
  const lines: [name: string, ProxyFacts, line: string][] = [
    ['IPv4', facts, 'PROXY TCP4 192.0.2.1 203.0.113.7 53953 5432\r\n'],
    [
      'IPv6',
      { ...facts, client: six, local: sixLocal },
      'PROXY TCP6 2001:db8::1 2001:db8:0:1::2 53953 5432\r\n',
    ],
    [
      'IPv4 at IPv6',
      { ...facts, local: sixLocal },
      'PROXY TCP6 ::ffff:192.0.2.1 2001:db8:0:1::2 53953 5432\r\n',
    ],
    ['IPv6 at IPv4', { ...facts, client: six }, 'PROXY TCP6 2001:db8::1 ::ffff:203.0.113.7 53953 5432\r\n'],
    [
      'IPv4 on a socket for both',
      { ...facts, local: { address: '::ffff:203.0.113.7', port: 5432 } },
      'PROXY TCP4 192.0.2.1 203.0.113.7 53953 5432\r\n',
    ],
    [
      'IPv6 with a zone',
      { ...facts, client: { address: 'fe80::1%eth0', port: 1 }, local: { address: 'fe80::2%eth0', port: 2 } },
      'PROXY TCP6 fe80::1 fe80::2 1 2\r\n',
    ],
    ['a unix client', { ...facts, client: unix }, 'PROXY UNKNOWN\r\n'],
    ['a unix listener', { ...facts, local: unix }, 'PROXY UNKNOWN\r\n'],
  ];
  for (const [name, known, line] of lines) {
    test(`v1, ${name}`, () => assert.equal(encodeProxyHeader(v1, known).toString('latin1'), line));
  }

  const mapped = '00000000000000000000ffff';
  const sixes = '20010db8000000000000000000000001 20010db8000000010000000000000002 d2c1 1538';
  const headers: [name: string, ProxyFacts, bytes: string][] = [
    ['IPv4', facts, `21 11 000c ${addresses}`],
    ['IPv6', { ...facts, client: six, local: sixLocal }, `21 21 0024 ${sixes}`],
    [
      'IPv4 at IPv6',
      { ...facts, local: sixLocal },
      `21 21 0024 ${mapped} c0000201 20010db8000000010000000000000002 d2c1 1538`,
    ],
    [
      'IPv6 at IPv4',
      { ...facts, client: six },
      `21 21 0024 20010db8000000000000000000000001 ${mapped} cb007107 d2c1 1538`,
    ],
    [
      'IPv6 any',
      { ...facts, client: { address: '::', port: 0 }, local: six },
      `21 21 0024 ${'00'.repeat(16)} 20010db8000000000000000000000001 0000 d2c1`,
    ],
    ['a unix client', { ...facts, client: unix }, '21 00 0000'],
    ['a unix listener', { ...facts, local: unix }, '21 00 0000'],
  ];
  for (const [name, known, bytes] of headers) {
    test(`v2, ${name}`, () =>
      assert.equal(encodeProxyHeader(v2(), known).toString('hex'), hex(signature + bytes)));
  }
});

describe('TLVs', () => {
  const tls = { version: 'TLSv1.3', cipher: 'TLS_AES_128_GCM_SHA256' };
  const verified = { cn: 'orders-app', verified: true };
  const version = `21 0007 ${text('TLSv1.3')}`;
  const cn = `22 000a ${text('orders-app')}`;
  const cipher = `23 0016 ${text('TLS_AES_128_GCM_SHA256')}`;

  test('all of them, in order, to the byte', () => {
    const header = encodeProxyHeader(v2WithAll, {
      ...facts,
      sni: 'orders.db.example.com',
      alpn: 'postgresql',
      tls: { ...tls, clientCert: verified },
    });
    const known = hex(`${signature} 21 11 0075 ${addresses}
      01 000a ${text('postgresql')}
      02 0015 ${text('orders.db.example.com')}
      05 0002 ${text('c1')}
      20 0035 07 00000000 ${version} ${cn} ${cipher}
      03 0004`);
    assert.equal(header.subarray(0, -4).toString('hex'), known);
    assert.equal(header.length, 16 + 0x75);
    assert.equal(header.readUInt32BE(header.length - 4), crc32c(Buffer.from(`${known}00000000`, 'hex')));
  });

  const clients: [name: string, ProxyFacts['tls'], bytes: string][] = [
    ['no certificate: not verified', tls, `20 0028 01 00000001 ${version} ${cipher}`],
    [
      'a verified certificate',
      { ...tls, clientCert: verified },
      `20 0035 07 00000000 ${version} ${cn} ${cipher}`,
    ],
    [
      'a certificate that was not verified',
      { ...tls, clientCert: { cn: 'orders-app', verified: false } },
      `20 0035 07 00000001 ${version} ${cn} ${cipher}`,
    ],
    [
      'a certificate of a resumed session: not of this connection',
      { ...tls, resumed: true, clientCert: verified },
      `20 0035 05 00000000 ${version} ${cn} ${cipher}`,
    ],
    [
      'a certificate without a CN',
      { ...tls, clientCert: { cn: undefined, verified: true } },
      `20 0028 07 00000000 ${version} ${cipher}`,
    ],
    [
      'a certificate with a CN beyond ASCII',
      { ...tls, clientCert: { cn: 'é', verified: true } },
      `20 002d 07 00000000 ${version} 22 0002 c3a9 ${cipher}`,
    ],
    [
      'a certificate with a CN that no header can hold: left out, not cut',
      { ...tls, clientCert: { cn: 'x'.repeat(70_000), verified: true } },
      `20 0028 07 00000000 ${version} ${cipher}`,
    ],
    ['no TLS: no field', undefined, ''],
  ];
  for (const [name, known, bytes] of clients) {
    test(`ssl, ${name}`, () =>
      assert.equal(tlvsOf(encodeProxyHeader(v2('ssl'), { ...facts, tls: known })), hex(bytes)));
  }

  test('what is not known is left out', () => {
    assert.equal(tlvsOf(encodeProxyHeader(v2('authority', 'alpn', 'ssl'), facts)), '');
  });

  test('what is not asked for is left out', () => {
    const all = { ...facts, sni: 'a.example', alpn: 'h2', tls };
    assert.equal(tlvsOf(encodeProxyHeader(v2('authority'), all)), hex(`02 0009 ${text('a.example')}`));
    assert.equal(tlvsOf(encodeProxyHeader(v2(), all)), '');
  });

  test('v1 has none', () => {
    const out: ProxyProtocolOut = { version: 'v1', tlvs: ['unique_id', 'crc32c'] };
    assert.deepEqual(encodeProxyHeader(out, facts), encodeProxyHeader(v1, facts));
  });

  test('unique_id has at most 128 bytes', () => {
    const header = encodeProxyHeader(v2('unique_id'), { ...facts, uniqueId: 'u'.repeat(200) });
    assert.equal(tlvsOf(header), hex(`05 0080 ${'75'.repeat(128)}`));
  });

  test('they follow a header without addresses too', () => {
    const header = encodeProxyHeader(v2('unique_id'), { ...facts, client: unix });
    assert.equal(header.toString('hex'), hex(`${signature} 21 00 0005 05 0002 ${text('c1')}`));
  });
});

describe('CRC-32C', () => {
  const vectors: [input: Uint8Array, sum: number][] = [
    [Buffer.from('123456789'), 0xe3069283], // the check value of the catalogues
    [Buffer.alloc(0), 0],
    [Buffer.alloc(32), 0x8a9136aa], // the rest: RFC 3720 appendix B.4
    [Buffer.alloc(32, 0xff), 0x62a8ab43],
    [Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
    [Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
  ];
  for (const [input, sum] of vectors) {
    test(`0x${sum.toString(16)}`, () => assert.equal(crc32c(input), sum));
  }

  test('in pieces it is the same', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
        assert.equal(crc32c(b, crc32c(a)), crc32c(Buffer.concat([a, b])));
      }),
    );
  });
});

describe('read back', () => {
  const port = fc.nat({ max: 65535 });
  const address = fc.record({
    address: fc.oneof(
      fc.ipV4(),
      fc.ipV6().filter((a) => !a.includes('%')),
    ),
    port,
  });
  const known: fc.Arbitrary<ProxyFacts> = fc.record(
    {
      client: address,
      local: address,
      sni: fc.domain(),
      alpn: fc.string({ minLength: 1, maxLength: 255 }),
      tls: fc.record(
        {
          version: fc.constantFrom('TLSv1.2', 'TLSv1.3'),
          cipher: fc.constant('ECDHE-RSA-AES128-GCM-SHA256'),
          clientCert: fc.record({
            cn: fc.option(fc.string({ unit: 'grapheme' }), { nil: undefined }),
            verified: fc.boolean(),
          }),
        },
        { requiredKeys: ['version', 'cipher'] },
      ),
      uniqueId: fc.uuid(),
    },
    { requiredKeys: ['client', 'local', 'uniqueId'] },
  );
  const out: fc.Arbitrary<ProxyProtocolOut> = fc.record({
    version: fc.constantFrom('v1', 'v2'),
    tlvs: fc.subarray(['authority', 'alpn', 'ssl', 'unique_id', 'crc32c'], { minLength: 0 }),
  });

  test('our decoder gives back both ends, and needs every byte', () => {
    fc.assert(
      fc.property(out, known, (as, known) => {
        const header = encodeProxyHeader(as, known);
        const normal = ({ address, port }: typeof four) => ({ address: normalizeAddress(address), port });
        const ends = { client: normal(known.client), destination: normal(known.local) };
        assert.deepEqual(decodeProxyHeader(header), { ...ends, length: header.length });
        for (let cut = 0; cut < header.length; cut++) {
          assert.equal(decodeProxyHeader(header.subarray(0, cut)), undefined);
        }
      }),
    );
  });

  test('so does the parser of proxy-protocol-js', () => {
    const { source } = V1ProxyProtocol.parse(encodeProxyHeader(v1, facts).toString('latin1'));
    assert.deepEqual({ ...source }, { ipAddress: four.address, port: four.port });
    const parsed = V2ProxyProtocol.parse(
      encodeProxyHeader(v2('authority', 'crc32c'), { ...facts, sni: 'a.b' }),
    );
    assert(parsed.proxyAddress instanceof IPv4ProxyAddress);
    assert.deepEqual([...parsed.proxyAddress.sourceAddress.address], [192, 0, 2, 1]);
    assert.deepEqual([...parsed.proxyAddress.destinationAddress.address], [203, 0, 113, 7]);
    assert.equal(parsed.proxyAddress.sourcePort, 53953);
    assert.equal(parsed.proxyAddress.destinationPort, 5432);
    assert.equal(
      Buffer.from(parsed.data ?? [])
        .subarray(0, 9)
        .toString('hex'),
      hex('020003 612e62 030004'),
    );
  });
});
