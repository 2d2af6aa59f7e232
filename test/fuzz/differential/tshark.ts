/** What Wireshark's dissector reads in ClientHellos: many at a time, each as a TCP stream of its own in a capture file. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export type TsharkReading = {
  /** Every server_name, as it is written. */
  readonly names: readonly string[];
  readonly alpn: readonly string[];
  readonly legacyVersion: number;
  readonly versions: readonly number[];
  readonly ciphers: readonly number[];
  readonly extensions: readonly number[];
  readonly groups: readonly number[];
  readonly signatureAlgorithms: readonly number[];
  /** What it finds wrong: '' if nothing. */
  readonly complaint: string;
};

/** Whether the program is there, and which. */
export async function tsharkVersion(): Promise<string | undefined> {
  try {
    return (await run('tshark', ['--version'])).stdout.split('\n')[0];
  } catch {
    return undefined;
  }
}

/** One reading for each, in their order; undefined where it sees no ClientHello. */
export async function readWithTshark(wires: readonly Buffer[]): Promise<(TsharkReading | undefined)[]> {
  const directory = mkdtempSync(join(tmpdir(), 'penstock-tshark-'));
  try {
    const file = join(directory, 'hellos.pcap');
    writeFileSync(file, capture(wires));
    const { stdout } = await run('tshark', ['-n', '-r', file, ...options], { maxBuffer: 1 << 30 });
    const readings: (TsharkReading | undefined)[] = wires.map(() => undefined);
    for (const line of stdout.split('\n').filter((text) => text !== '')) {
      const [source = '', ...values] = line.split('\t');
      // The first hello of a stream: what follows may look like another.
      readings[indexOf(source)] ??= reading(values);
    }
    return readings;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const run = promisify(execFile);

/** Between several values of one field. */
export const separator = '\x1f';

const fields = [
  'tls.handshake.extensions_server_name',
  'tls.handshake.extensions_alpn_str',
  'tls.handshake.version',
  'tls.handshake.extensions.supported_version',
  'tls.handshake.ciphersuite',
  'tls.handshake.extension.type',
  'tls.handshake.extensions_supported_group',
  'tls.handshake.sig_hash_alg',
  'tls.handshake.sig_hash_alg_len',
  '_ws.expert.message',
];

const options = [
  ...['-d', 'tcp.port==443,tls', '-Y', 'tls.handshake.type==1', '-T', 'fields'],
  ...['-E', 'separator=/t', '-E', `aggregator=${separator}`, '-e', 'ip.src'],
  ...fields.flatMap((field) => ['-e', field]),
];

function reading(values: readonly string[]): TsharkReading {
  const [names = [], alpn = [], legacy = [], ...rest] = values.map((value) =>
    value === '' ? [] : value.split(separator),
  );
  const complaint = rest.pop()?.join('; ') ?? '';
  const [versions = [], ciphers = [], extensions = [], groups = [], algorithms = [], lengths = []] = rest.map(
    (list) => list.map(Number),
  );
  const [legacyVersion = Number.NaN] = legacy.map(Number);
  const signatureAlgorithms = listOf(13, algorithms, lengths, extensions);
  return {
    names,
    alpn,
    legacyVersion,
    versions,
    ciphers,
    extensions,
    groups,
    signatureAlgorithms,
    complaint,
  };
}

/** Three extensions hold algorithms, which it gives as one list: those of `type`, by the order and lengths of all three. */
function listOf(
  type: number,
  all: readonly number[],
  lengths: readonly number[],
  extensions: readonly number[],
): number[] {
  const place = extensions.filter((each) => [13, 34, 50].includes(each)).indexOf(type);
  if (place === -1) return [];
  const start = lengths.slice(0, place).reduce((sum, length) => sum + length / 2, 0);
  return all.slice(start, start + (lengths[place] ?? 0) / 2);
}

/** A pcap file of raw IPv4 packets (LINKTYPE_RAW): the hello with this index comes from 10.x.y.z, port 40000, to port 443. */
function capture(wires: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(262_144, 16);
  header.writeUInt32LE(101, 20);
  return Buffer.concat([header, ...wires.flatMap((wire, index) => segments(wire, index))]);
}

function segments(wire: Buffer, index: number): Buffer[] {
  const packets: Buffer[] = [];
  for (let at = 0; at < wire.length; at += 60_000) {
    const data = wire.subarray(at, at + 60_000);
    const packet = Buffer.alloc(16 + 20 + 20);
    packet.writeUInt32LE(1, 0); // a second, for all
    packet.writeUInt32LE(40 + data.length, 8);
    packet.writeUInt32LE(40 + data.length, 12);
    packet.writeUInt8(0x45, 16);
    packet.writeUInt16BE(40 + data.length, 18);
    packet.writeUInt8(64, 24);
    packet.writeUInt8(6, 25);
    packet.writeUInt32BE(0x0a_00_00_00 + index, 28);
    packet.writeUInt32BE(0x7f_00_00_01, 32);
    packet.writeUInt16BE(40_000, 36);
    packet.writeUInt16BE(443, 38);
    packet.writeUInt32BE(1 + at, 40);
    packet.writeUInt32BE(1, 44);
    packet.writeUInt16BE(0x5018, 48); // 20 bytes of header; PSH, ACK
    packet.writeUInt16BE(65_535, 50);
    packets.push(packet, data);
  }
  return packets;
}

function indexOf(source: string): number {
  return source.split('.').reduce((sum, part) => sum * 256 + Number(part), 0) - 0x0a_00_00_00;
}
