/**
 * Proves that exactly one PROXY header is read off the front of what a peer sends: whole or in any pieces, whatever
 * follows; that bytes which cannot become a header are refused; and that nothing else is ever thrown.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ProxyError } from '../../src/errors.ts';
import { crc32c } from '../../src/proxy-protocol/crc32c.ts';
import { decodeProxyHeader, maxProxyHeaderLength } from '../../src/proxy-protocol/decode.ts';

const signature = '0d0a0d0a000d0a515549540a';
const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
const line = (text: string) => Buffer.from(`${text}\r\n`, 'latin1');
const ffff = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff';
const v4Block = 'c0000201 cb007107 d2c1 1538'; // 192.0.2.1:53953 → 203.0.113.7:5432
const v4Client = { address: '192.0.2.1', port: 53953 };

/** A v2 header over IPv4 with these TLVs; `#` stands for the CRC32C of the whole. */
function withTlvs(tlvs: string): Buffer {
  const at = tlvs.replaceAll(/\s/g, '').indexOf('#') / 2;
  const body = hex(v4Block + tlvs.replace('#', '00000000'));
  const length = Buffer.alloc(2);
  length.writeUInt16BE(body.length);
  const header = Buffer.concat([hex(`${signature} 21 11`), length, body]);
  if (at >= 0) header.writeUInt32BE(crc32c(header), 16 + 12 + at);
  return header;
}

const valid: [name: string, header: Buffer, client: { address: string; port: number } | undefined][] = [
  [
    'v1 TCP4, the example of the specification',
    line('PROXY TCP4 192.168.0.1 192.168.0.11 56324 443'),
    { address: '192.168.0.1', port: 56324 },
  ],
  [
    'v1 TCP4, the longest',
    line('PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535'),
    { address: '255.255.255.255', port: 65535 },
  ],
  ['v1 TCP4, port 0', line('PROXY TCP4 0.0.0.0 0.0.0.0 0 0'), { address: '0.0.0.0', port: 0 }],
  ['v1 TCP6', line('PROXY TCP6 2001:DB8::1 ::1 1 2'), { address: '2001:db8::1', port: 1 }],
  ['v1 TCP6, the longest', line(`PROXY TCP6 ${ffff} ${ffff} 65535 65535`), { address: ffff, port: 65535 }],
  [
    'v1 TCP6, IPv4 within IPv6',
    line('PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 7 8'),
    { address: '192.0.2.1', port: 7 },
  ],
  ['v1 UNKNOWN, short', line('PROXY UNKNOWN'), undefined],
  ['v1 UNKNOWN, the longest', line(`PROXY UNKNOWN ${ffff} ${ffff} 65535 65535`), undefined],
  ['v1 UNKNOWN with anything', line('PROXY UNKNOWN \x00\xff! PROXY  '), undefined],
  ['v2 TCP over IPv4', hex(`${signature} 21 11 000c ${v4Block}`), v4Client],
  [
    'v2 TCP over IPv6',
    hex(
      `${signature} 21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 d2c1 1538`,
    ),
    { address: '2001:db8::1', port: 53953 },
  ],
  [
    'v2 TCP over IPv6, IPv4 within IPv6',
    hex(
      `${signature} 21 21 0024 00000000000000000000ffffc0000201 00000000000000000000ffffcb007107 d2c1 1538`,
    ),
    v4Client,
  ],
  ['v2 UDP over IPv4', hex(`${signature} 21 12 000c ${v4Block}`), v4Client],
  [
    'v2 unix',
    Buffer.concat([hex(`${signature} 21 31 00d8`), Buffer.alloc(216, '/run/x')]),
    { address: 'unix', port: 0 },
  ],
  ['v2 LOCAL', hex(`${signature} 20 00 0000`), undefined],
  ['v2 LOCAL with addresses, which are ignored', hex(`${signature} 20 11 000c ${v4Block}`), undefined],
  [
    'v2 LOCAL of a family that does not exist, which is ignored',
    hex(`${signature} 20 ff 0001 00`),
    undefined,
  ],
  ['v2 AF_UNSPEC', hex(`${signature} 21 00 0000`), undefined],
  ['v2 AF_UNSPEC with bytes that nobody can read', hex(`${signature} 21 00 0003 ffffff`), undefined],
  ['v2 AF_INET of no protocol', hex(`${signature} 21 10 000c ${v4Block}`), undefined],
  ['v2 with TLVs, one empty, one unknown', withTlvs('010002 6832 040000 e00001 ff'), v4Client],
  ['v2 with CRC32C last', withTlvs('020003 612e62 030004 #'), v4Client],
  ['v2 with CRC32C first', withTlvs('030004 # 020003 612e62'), v4Client],
  [
    'v2, the longest',
    withTlvs(`04 ${(4096 - 16 - 12 - 3).toString(16).padStart(4, '0')} ${'00'.repeat(4065)}`),
    v4Client,
  ],
];

describe('valid headers', () => {
  for (const [name, header, client] of valid) {
    test(name, () => {
      const expected = { client, length: header.length };
      const read = (bytes: Buffer) => {
        const decoded = decodeProxyHeader(bytes);
        // Who is named is named with what it dialled.
        assert.equal(decoded?.destination === undefined, decoded?.client === undefined);
        return decoded && { client: decoded.client, length: decoded.length };
      };
      assert.deepEqual(read(header), expected);
      assert.deepEqual(read(Buffer.concat([header, header])), expected, 'followed by another');
      assert.deepEqual(read(Buffer.concat([header, hex('0a0d')])), expected, 'followed by CR, LF');
      for (let cut = 0; cut < header.length; cut++) {
        assert.equal(decodeProxyHeader(header.subarray(0, cut)), undefined, `cut after ${cut} bytes`);
      }
    });
  }
});

const goodSum = withTlvs('030004 # 040000');
const badSum = Buffer.from(goodSum);
badSum[17]! ^= 1;

const hostile: [name: string, bytes: Buffer][] = [
  ['a TLS ClientHello', hex('16')],
  ['an HTTP request', Buffer.from('GET / HTTP/1.1')],
  ['another word with P', Buffer.from('PO')],
  ['lower case', Buffer.from('PROXY tcp4')],
  ['an unknown family', Buffer.from('PROXY TCP5')],
  ['UDP4', Buffer.from('PROXY UD')],
  ['a longer word than UNKNOWN', Buffer.from('PROXY UNKNOWNX')],
  ['two spaces', line('PROXY TCP4  192.0.2.1 192.0.2.2 1 2')],
  ['two spaces between the ports', line('PROXY TCP4 192.0.2.1 192.0.2.2 1  2')],
  ['a space at the end', line('PROXY TCP4 192.0.2.1 192.0.2.2 1 2 ')],
  ['a tab', Buffer.from('PROXY TCP4 192.0.2.1\t')],
  ['one field more', line('PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3')],
  ['one field less', line('PROXY TCP4 192.0.2.1 192.0.2.2 1')],
  ['no fields', line('PROXY TCP4 ')],
  ['an LF alone', Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n')],
  ['a CR alone', Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rX')],
  ['two CRs', Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r')],
  ['an LF alone after UNKNOWN', Buffer.from('PROXY UNKNOWN \n')],
  ['a CR alone after UNKNOWN', Buffer.from('PROXY UNKNOWN \rX\r\n')],
  ['a leading zero in an address', line('PROXY TCP4 192.0.2.01 192.0.2.2 1 2')],
  ['an address of three numbers', line('PROXY TCP4 10.1.1 192.0.2.2 1 2')],
  ['IPv6 as TCP4', line('PROXY TCP4 ::1 ::1 1 2')],
  ['IPv4 as TCP6', line('PROXY TCP6 192.0.2.1 192.0.2.2 1 2')],
  ['a destination of the other family', line('PROXY TCP4 192.0.2.1 ::1 1 2')],
  ['a zone', Buffer.from('PROXY TCP6 fe80::1%')],
  ['a name', Buffer.from('PROXY TCP4 localh')],
  ['a port of 65536', line('PROXY TCP4 192.0.2.1 192.0.2.2 65536 2')],
  ['a destination port of 65536', line('PROXY TCP4 192.0.2.1 192.0.2.2 1 65536')],
  ['a leading zero in a port', line('PROXY TCP4 192.0.2.1 192.0.2.2 01 2')],
  ['a signed port', Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.2 +')],
  ['a hexadecimal port', line('PROXY TCP4 192.0.2.1 192.0.2.2 1f 2')],
  ['no port', line('PROXY TCP4 192.0.2.1 192.0.2.2  2')],
  ['a line of 106 bytes without a CR', Buffer.from('PROXY UNKNOWN '.padEnd(106, 'x'))],
  ['a line of 108 bytes', line('PROXY UNKNOWN '.padEnd(106, 'x'))],
  ['a v2 signature with a wrong byte', hex('0d0a0d0a01')],
  ['a v2 signature with a wrong last byte', hex('0d0a0d0a000d0a515549540b')],
  ['v2 of version 1', hex(`${signature} 11`)],
  ['v2 of version 3', hex(`${signature} 31`)],
  ['v2 with an unknown command', hex(`${signature} 22`)],
  ['v2 with an unknown family', hex(`${signature} 21 41`)],
  ['v2 with an unknown protocol', hex(`${signature} 21 13`)],
  ['v2 over IPv4, too short for the addresses', hex(`${signature} 21 11 000b`)],
  ['v2 over IPv6, too short for the addresses', hex(`${signature} 21 21 0023`)],
  ['v2 unix, too short for the addresses', hex(`${signature} 21 31 00d7`)],
  [
    'v2 longer than the bound',
    hex(`${signature} 21 11 ${(maxProxyHeaderLength - 15).toString(16).padStart(4, '0')}`),
  ],
  ['v2 LOCAL longer than the bound', hex(`${signature} 20 00 ffff`)],
  ['a TLV without a length', withTlvs('04')],
  ['a TLV with half a length', withTlvs('0400')],
  ['a TLV one byte too long', withTlvs('040002 00')],
  ['a TLV of 65535 bytes', withTlvs('04ffff')],
  ['bytes after the last TLV', withTlvs('040000 00')],
  ['a header that does not match its CRC32C', badSum],
  ['a CRC32C of zero', withTlvs('030004 00000000')],
  ['a CRC32C of 3 bytes', withTlvs('030003 000000')],
  ['two CRC32Cs', withTlvs('030004 # 030004 00000000')],
];

describe('what is refused', () => {
  for (const [name, bytes] of hostile) {
    test(name, () => {
      assert.throws(
        () => decodeProxyHeader(bytes),
        (error) =>
          error instanceof ProxyError && error.code === 'ERR_PROXY_HEADER_INVALID' && error.side === 'client',
      );
    });
  }

  test('a changed bit anywhere under a CRC32C', () => {
    const header = withTlvs('020003 612e62 030004 #');
    for (let bit = 16 * 8; bit < header.length * 8; bit++) {
      const changed = Buffer.from(header);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      // A bit of the TLV's own type hides the checksum; its framing then still holds.
      if (bit >> 3 === header.length - 7) continue;
      assert.throws(() => decodeProxyHeader(changed), { code: 'ERR_PROXY_HEADER_INVALID' }, `bit ${bit}`);
    }
  });
});

describe('whatever arrives', () => {
  const begun = fc
    .tuple(
      fc.constantFrom(
        '',
        'PROXY ',
        'PROXY TCP4 ',
        'PROXY TCP6 1:',
        'PROXY UNKNOWN',
        '\r\n\r\n\0\r\nQUIT\n',
        '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x20',
      ),
      fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        fc.stringMatching(/^[0-9a-f:. \r\n]{0,110}$/).map(Buffer.from),
      ),
    )
    .map(([start, rest]) => Buffer.concat([Buffer.from(start, 'latin1'), rest]));
  const mutated = fc
    .tuple(fc.constantFrom(...valid.map(([, header]) => header)), fc.nat(), fc.integer({ min: 1, max: 255 }))
    .map(([header, at, mask]) => {
      const bytes = Buffer.from(header);
      bytes[at % bytes.length]! ^= mask;
      return bytes;
    });

  test('it is a header within bounds, more is needed, or it is refused', () => {
    fc.assert(
      fc.property(fc.oneof(begun, mutated), (bytes) => {
        let header: ReturnType<typeof decodeProxyHeader>;
        try {
          header = decodeProxyHeader(bytes);
        } catch (error) {
          assert(error instanceof ProxyError);
          return;
        }
        if (header === undefined) assert(bytes.length < maxProxyHeaderLength);
        else assert(header.length > 0 && header.length <= Math.min(bytes.length, maxProxyHeaderLength));
      }),
      { numRuns: 2000 },
    );
  });

  test('what has been refused stays refused, and what has been read is not read otherwise, with more bytes', () => {
    fc.assert(
      fc.property(fc.oneof(begun, mutated), fc.nat(), (bytes, cut) => {
        const outcome = (part: Buffer) => {
          try {
            return decodeProxyHeader(part);
          } catch {
            return 'refused';
          }
        };
        const early = outcome(bytes.subarray(0, cut % (bytes.length + 1)));
        if (early !== undefined) assert.deepEqual(outcome(bytes), early);
      }),
      { numRuns: 2000 },
    );
  });
});
