/** ClientHellos to test with: captured ones (test/fixtures/client-hellos) and ones made field by field. */
import { readdirSync, readFileSync } from 'node:fs';

const folder = new URL('../fixtures/client-hellos/', import.meta.url);

/** The names of all captured hellos, such as `chromium-156`. */
export const capturedNames: readonly string[] = readdirSync(folder)
  .filter((file) => file.endsWith('.hex'))
  .map((file) => file.slice(0, -'.hex'.length))
  .sort();

/** The bytes that a real client sent, from its first record on. */
export function capturedHello(name: string): Buffer {
  const [, ...lines] = readFileSync(new URL(`${name}.hex`, folder), 'latin1').split('\n');
  return Buffer.from(lines.join(''), 'hex');
}

export type Extension = readonly [type: number, data: Buffer];

export type HelloParts = {
  legacyVersion?: number;
  sessionId?: Buffer;
  ciphers?: readonly number[];
  compressions?: readonly number[];
  /** undefined: the hello ends before them. */
  extensions?: readonly Extension[] | undefined;
  /** Stray bytes at its end. */
  tail?: Buffer;
};

/** A handshake message, its header included. */
export function helloMessage(parts: HelloParts = {}): Buffer {
  const { legacyVersion = 0x0303, sessionId = Buffer.alloc(32, 7), ciphers = [0x1301, 0xc02b] } = parts;
  const body = Buffer.concat([
    uint16s([legacyVersion]),
    Buffer.alloc(32, 0xaa),
    vector(1, sessionId),
    vector(2, uint16s(ciphers)),
    vector(1, Buffer.from(parts.compressions ?? [0])),
    parts.extensions === undefined ? Buffer.alloc(0) : extensionBlock(parts.extensions),
    parts.tail ?? Buffer.alloc(0),
  ]);
  return handshake(1, body);
}

/** A handshake message of any type: struct { HandshakeType msg_type; uint24 length; … }. */
export function handshake(type: number, body: Buffer): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt32BE(type * 0x1_00_00_00 + body.length);
  return Buffer.concat([header, body]);
}

/** The message in handshake records of at most `size` bytes. */
export function inRecords(message: Buffer, size = 16_384): Buffer {
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) records.push(record(message.subarray(at, at + size)));
  return Buffer.concat(records);
}

export function record(payload: Buffer, type = 22, major = 3): Buffer {
  return Buffer.concat([Buffer.from([type, major, 1]), vector(2, payload)]);
}

/** An extension of server names, each of the type given or 0 (host_name). */
export function serverName(...names: (string | Buffer)[]): Extension {
  const entries = names.map((name) =>
    Buffer.concat([
      Buffer.from([0]),
      vector(2, typeof name === 'string' ? Buffer.from(name, 'latin1') : name),
    ]),
  );
  return [0, vector(2, Buffer.concat(entries))];
}

export function protocols(...names: string[]): Extension {
  return [16, vector(2, Buffer.concat(names.map((name) => vector(1, Buffer.from(name, 'latin1')))))];
}

export function supportedVersions(...versions: number[]): Extension {
  return [43, vector(1, uint16s(versions))];
}

export function supportedGroups(...groups: number[]): Extension {
  return [10, vector(2, uint16s(groups))];
}

export function signatureAlgorithms(...algorithms: number[]): Extension {
  return [13, vector(2, uint16s(algorithms))];
}

/** Data behind its own length of one or two bytes. */
export function vector(size: 1 | 2, data: Buffer): Buffer {
  const length = Buffer.alloc(size);
  length.writeUIntBE(data.length, 0, size);
  return Buffer.concat([length, data]);
}

export function uint16s(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(2 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt16BE(value, 2 * index);
  return bytes;
}

function extensionBlock(extensions: readonly Extension[]): Buffer {
  return vector(
    2,
    Buffer.concat(extensions.map(([type, data]) => Buffer.concat([uint16s([type]), vector(2, data)]))),
  );
}
