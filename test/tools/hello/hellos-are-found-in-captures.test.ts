/**
 * `penstock hello` finds the ClientHello of each TCP client in a capture: pcap and pcapng, in either byte order, whatever
 * the link layer, however TCP has cut and ordered the stream, behind a PROXY header or a STARTTLS too. What is cut short,
 * damaged or no TLS is told or passed over, and never ends it otherwise.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Heard, readHellos } from '../../../src/tools/captures/input.ts';
import {
  type CaptureOptions,
  capturedTraffic,
  ethernet,
  firstFrameAt,
  pcap,
  pcapng,
  type SegmentParts,
  tcpPacket,
} from '../../support/captures.ts';
import { capturedHello } from '../../support/client-hellos.ts';

/** All that it yields for a file that comes in chunks of this size. */
async function hear(file: Buffer, size = file.length): Promise<Heard[]> {
  async function* chunks() {
    for (let at = 0; at < file.length; at += size) yield file.subarray(at, at + size);
  }
  const heard: Heard[] = [];
  for await (const one of readHellos(chunks())) heard.push(one);
  return heard;
}

function told({ origin, read, error }: Heard): string {
  const outcome = read ? `${read.hello.sni} ${read.message.length}` : error.message;
  return [origin.from, origin.peer && `by ${origin.peer}`, origin.to && `to ${origin.to}`, outcome]
    .filter(Boolean)
    .join(' ');
}

const wire = capturedHello('chromium-156');
const whole = `10.0.0.5:40000 to 10.0.0.1:5432 orders.example.com ${wire.length - 5}`;

/** A SYN, then the bytes in pieces that end at the cuts. */
function connection(bytes: Buffer, cuts: readonly number[], parts: SegmentParts = {}): Buffer[] {
  const start = parts.sequence ?? 1000;
  const bounds = [0, ...cuts, bytes.length];
  const pieces = bounds.slice(1).map((end, index) => {
    const from = bounds[index] ?? 0;
    return tcpPacket({ ...parts, sequence: start + 1 + from, payload: bytes.subarray(from, end) });
  });
  return [tcpPacket({ ...parts, sequence: start, flags: 2 }), ...pieces];
}

describe('what tcpdump wrote', () => {
  test('psql asks for TLS first; ssh, on the same port, does not', async () => {
    const [only, ...others] = await hear(capturedTraffic('psql-starttls'));
    assert.deepEqual(others, []);
    assert.equal(only?.read?.hello.extensions.length, 9);
    assert.match(String(only && told(only)), /^127\.0\.0\.1:49390 to 127\.0\.0\.1:24434 undefined 288$/);
    assert.equal(only?.origin.time && new Date(only.origin.time).toISOString(), '2026-11-22T18:55:41.765Z');
  });

  test('-i any: both ends of each connection, every packet twice', async () => {
    assert.deepEqual((await hear(capturedTraffic('openssl-any'))).map(told), [
      '127.0.0.1:45134 to 127.0.0.1:24433 orders.example.com 336',
      '127.0.0.1:45144 to 127.0.0.1:24433 billing.example.com 211',
    ]);
  });

  test('it does not matter in what pieces the file comes', async () => {
    const file = capturedTraffic('openssl-any');
    const expected = (await hear(file)).map(told);
    for (const size of [1, 3, 7, 100, 1000]) {
      assert.deepEqual((await hear(file, size)).map(told), expected, `${size}`);
    }
  });
});

describe('formats', () => {
  for (const little of [true, false]) {
    for (const nanoseconds of [true, false]) {
      for (const write of [pcap, pcapng]) {
        test(`${write.name} ${little ? 'little' : 'big'}-endian, ${nanoseconds ? 'nano' : 'micro'}seconds`, async () => {
          const frames = connection(wire, [100, 900]).map((packet) => ethernet(packet));
          const [heard, ...rest] = await hear(write(frames, { little, nanoseconds }));
          assert.equal(heard && told(heard), whole);
          assert.equal(Math.round(heard?.origin.time ?? 0), firstFrameAt + 3);
          assert.deepEqual(rest, []);
        });
      }
    }
  }

  const v6: SegmentParts = { from: '2001:db8:0:0:0:0:0:5', to: '2001:db8:0:0:0:0:0:1' };
  const layers: [string, (packet: Buffer) => Buffer, CaptureOptions][] = [
    ['Ethernet with two VLAN tags', (packet) => ethernet(packet, 2), {}],
    ['raw IP', (packet) => packet, { linkType: 101 }],
    ['BSD loopback', (packet) => Buffer.concat([Buffer.from([2, 0, 0, 0]), packet]), { linkType: 0 }],
    ['Linux SLL', (packet) => Buffer.concat([Buffer.alloc(14), typeOf(packet), packet]), { linkType: 113 }],
    ['Linux SLL2', (packet) => Buffer.concat([typeOf(packet), Buffer.alloc(18), packet]), { linkType: 276 }],
  ];
  for (const [name, wrap, options] of layers) {
    test(name, async () => {
      assert.deepEqual((await hear(pcap(connection(wire, [50]).map(wrap), options))).map(told), [whole]);
      assert.deepEqual((await hear(pcap(connection(wire, [50], v6).map(wrap), options))).map(told), [
        `[2001:db8::5]:40000 to [2001:db8::1]:5432 orders.example.com ${wire.length - 5}`,
      ]);
    });
  }

  function typeOf(packet: Buffer): Buffer {
    return Buffer.from((packet[0] ?? 0) >> 4 === 6 ? [0x86, 0xdd] : [8, 0]);
  }
});

describe('streams', () => {
  test('cut, doubled, overlapping and in any order, it is the same hello', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.integer({ min: 1, max: wire.length - 1 }), { maxLength: 12 }),
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
        async (cuts, sequence, numbers) => {
          const [syn, ...pieces] = connection(
            wire,
            cuts.sort((a, b) => a - b),
            { sequence },
          );
          // One more that overlaps some of the others.
          const payload = wire.subarray(10, 300);
          const overlapping = tcpPacket({ sequence: sequence + 11, payload });
          const random = () => numbers.next().value ?? 0;
          const shuffled = [...pieces, overlapping, pieces[0] ?? overlapping]
            .map((packet) => ({ packet, key: random() }))
            .sort((a, b) => a.key - b.key)
            .map(({ packet }) => packet);
          const file = pcap([syn as Buffer, ...shuffled], { linkType: 101 });
          assert.deepEqual((await hear(file)).map(told), [whole]);
        },
      ),
      { numRuns: 200 },
    );
  });

  test('many at once, a port that is used again, one that was open before', async () => {
    const first = connection(wire, [700]);
    const again = connection(capturedHello('curl-7.88'), [], { sequence: 77_777 });
    const other = connection(capturedHello('psql-15'), [10, 20], { fromPort: 40_001 });
    const [, ...open] = connection(capturedHello('node-26'), [500], { fromPort: 40_002 });
    const packets = [first[0], other[0], first[1], other[1], open[0], other[2], first[2], other[3], open[1]];
    const file = pcap([...(packets as Buffer[]), ...again], { linkType: 101 });
    assert.deepEqual(
      (await hear(file)).map(({ origin, read }) => `${origin.from} ${read?.hello.sni}`),
      [
        '10.0.0.5:40000 orders.example.com',
        '10.0.0.5:40001 orders.example.com',
        '10.0.0.5:40002 orders.example.com',
        '10.0.0.5:40000 orders.example.com',
      ],
    );
  });

  const before: [string, Buffer, string][] = [
    ['an SSLRequest', Buffer.from('0000000804d2162f', 'hex'), whole],
    ['SMTP with STARTTLS', Buffer.from('EHLO client.example\r\nSTARTTLS\r\n'), whole],
    [
      'a PROXY header, and an SSLRequest',
      Buffer.from('PROXY TCP4 192.0.2.7 10.0.0.1 5555 5432\r\n\0\0\0\x08\x04\xd2\x16\x2f', 'latin1'),
      whole.replace('10.0.0.5:40000', '192.0.2.7:5555 by 10.0.0.5:40000'),
    ],
  ];
  for (const [name, said, expected] of before) {
    test(`behind ${name}`, async () => {
      const frames = connection(Buffer.concat([said, wire]), [said.length, said.length + 600]);
      // The server's side begins like a hello, and is none.
      const answer = Buffer.from('160303007a02000076', 'hex');
      const server = connection(answer, [], {
        from: '10.0.0.1',
        to: '10.0.0.5',
        fromPort: 5432,
        toPort: 40_000,
      });
      assert.deepEqual((await hear(pcap([...frames, ...server], { linkType: 101 }))).map(told), [expected]);
    });
  }
});

describe('what is wrong is said', () => {
  test('packets that were cut by -s', async () => {
    const frames = connection(wire, []).map((packet) => ethernet(packet));
    assert.deepEqual((await hear(pcap(frames, { snapLength: 96 }))).map(told), [
      '10.0.0.5:40000 to 10.0.0.1:5432 the capture has truncated packets: have tcpdump write them in full (-s 0)',
    ]);
  });

  test('a segment that is not there', async () => {
    const [syn, first, , last] = connection(wire, [200, 400]);
    const file = pcap([syn, first, last] as Buffer[], { linkType: 101 });
    assert.deepEqual((await hear(file)).map(told), [
      '10.0.0.5:40000 to 10.0.0.1:5432 the ClientHello is cut short: 200 bytes are not all of it',
    ]);
  });

  test('a malformed hello', async () => {
    const broken = Buffer.from(wire);
    broken[43] = 99;
    const [heard] = await hear(pcap(connection(broken, []), { linkType: 101 }));
    assert.match(String(heard && told(heard)), /malformed ClientHello: session_id/);
  });

  test('no TLS in it at all', async () => {
    const file = pcap(connection(Buffer.from('GET / HTTP/1.1\r\n\r\n'), []), { linkType: 101 });
    assert.deepEqual((await hear(file)).map(told), ["none of the capture's 1 TCP stream has a ClientHello"]);
  });

  test('a file that ends too early: what is there is told, and that it ends', async () => {
    const file = capturedTraffic('openssl-any');
    const told1 = (await hear(file.subarray(0, file.length - 5))).map(told);
    assert.equal(told1.length, 3);
    assert.equal(told1[2], 'the rest of the capture cannot be read: it ends in the middle of a packet');
  });

  test('whatever is changed in a capture, it is told or passed over', async () => {
    const files = [
      capturedTraffic('psql-starttls'),
      pcapng(connection(wire, [300]).map((it) => ethernet(it))),
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...files),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 }),
        fc.nat(),
        async (file, changes, end) => {
          const changed = Buffer.from(file.subarray(0, 4 + (end % (file.length - 3))));
          for (const [at, byte] of changes) changed[at % changed.length] = byte;
          for (const { read, error } of await hear(changed, 512)) assert.ok(read ?? error.message);
        },
      ),
      { numRuns: 500 },
    );
  });
});
