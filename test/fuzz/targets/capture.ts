/** What `penstock hello` reads from files: captures of any traffic, and hellos in hex or base64. */
import assert from 'node:assert/strict';
import { ProxyError } from '../../../src/errors.ts';
import { readHellos } from '../../../src/tools/captures/input.ts';
import { capturedTraffic, ethernet, pcap, pcapng, tcpPacket } from '../../support/captures.ts';
import { helloMessage, inRecords, serverName } from '../../support/client-hellos.ts';
import { assertSame } from '../outcome.ts';
import type { Target } from '../target.ts';

const wire = inRecords(helloMessage({ extensions: [serverName('a.example')] }));
const packets = [
  tcpPacket({ flags: 2, sequence: 99 }),
  tcpPacket({ sequence: 100, payload: wire.subarray(0, 60) }),
  tcpPacket({ sequence: 160, payload: wire.subarray(60) }),
];
const frames = packets.map((packet) => ethernet(packet));
const ipv6 = tcpPacket({ from: 'fd00:0:0:0:0:0:0:1', to: 'fd00:0:0:0:0:0:0:2', payload: wire });

export const target: Target = {
  name: 'capture',
  seeds: () => [
    pcap(frames),
    pcap(packets, { linkType: 101, little: false, nanoseconds: true }),
    pcapng([ethernet(ipv6, 1)], { nanoseconds: true }),
    pcapng(frames, { little: false, snapLength: 100 }),
    capturedTraffic('psql-starttls').subarray(0, 3000),
    wire,
    Buffer.from(wire.toString('hex')),
    Buffer.from(wire.toString('base64')),
    Buffer.from(dump(wire)),
    Buffer.from(`${dump(Buffer.alloc(64, 22)).split('\n')[0]}\n*\n00000040: 1603\n00000042\n`),
    Buffer.from(
      `unsigned char hello[] = { ${[...wire].map((byte) => `0x${byte.toString(16)}`).join(', ')} };`,
    ),
  ],
  tokens: [
    wire,
    Buffer.from('0a0d0d0a', 'hex'),
    Buffer.from('1a2b3c4d', 'hex'),
    Buffer.from('8100000786dd', 'hex'),
    Buffer.from('\n*\n'),
    Buffer.from('\n00000010: '),
    Buffer.from('\n00000000\n'),
    Buffer.from('# '),
  ],
  maxLength: 8000,
  async check(bytes) {
    const whole = await read([bytes]);
    assert.ok(whole.length > 0, 'nothing is told');
    const cut = bytes.length < 2 ? 0 : bytes.readUInt16LE(bytes.length - 2) % bytes.length;
    assertSame(
      await read([bytes.subarray(0, cut), bytes.subarray(cut)]),
      whole,
      `cut at ${cut} it says otherwise`,
    );
  },
};

/** As xxd writes it. */
function dump(bytes: Buffer): string {
  const rows = Array.from({ length: Math.ceil(bytes.length / 16) }, (_, index) => {
    const hex = bytes.toString('hex', index * 16, index * 16 + 16).replace(/.{4}/g, '$& ');
    return `${(index * 16).toString(16).padStart(8, '0')}: ${hex}`;
  });
  return rows.join('\n');
}

async function read(chunks: readonly Buffer[]): Promise<unknown[]> {
  const heard: unknown[] = [];
  for await (const { origin, read: hello, error } of readHellos(stream(chunks))) {
    if (error) assert.ok(error instanceof ProxyError && /^[ -~]+$/.test(error.message), String(error));
    heard.push({ origin, hello: hello?.hello, code: error?.code });
  }
  return heard;
}

async function* stream(chunks: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* chunks;
}
