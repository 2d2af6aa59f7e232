/** Changes to bytes, as fuzzers make them: a few at a time, and such as parsers of lengths and tokens trip over. */
import type { Random } from './random.ts';

export type Material = {
  readonly random: Random;
  /** Other inputs, to take pieces from; not empty. */
  readonly pool: readonly Buffer[];
  /** Words of the format. */
  readonly tokens: readonly Buffer[];
  readonly maxLength: number;
};

/** A copy with one to eight changes, of at most `maxLength` bytes. */
export function mutate(original: Buffer, material: Material): Buffer {
  const { random, maxLength } = material;
  let bytes: Buffer = Buffer.from(original);
  // Mostly one or two, so that what was good of the input stays.
  const changes = 1 + Math.min(random.below(8), random.below(8));
  for (let change = 0; change < changes; change++) bytes = random.pick(kinds)(bytes, material);
  return bytes.length > maxLength ? bytes.subarray(0, maxLength) : bytes;
}

type Change = (bytes: Buffer, material: Material) => Buffer;

const interesting = [0, 1, 2, 4, 8, 16, 22, 32, 33, 64, 127, 128, 255];
const wide = [0, 1, 255, 256, 0x0303, 0x0304, 16384, 16385, 32767, 32768, 65534, 65535];

const flipBit: Change = (bytes, { random }) => {
  if (bytes.length > 0) bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
  return bytes;
};

const setByte: Change = (bytes, { random }) => {
  if (bytes.length > 0) {
    bytes[random.below(bytes.length)] = random.below(2) === 0 ? random.pick(interesting) : random.below(256);
  }
  return bytes;
};

const addToByte: Change = (bytes, { random }) => {
  if (bytes.length > 0) bytes[random.below(bytes.length)]! += random.below(9) - 4;
  return bytes;
};

/** Most lengths are of two bytes. */
const changeUint16: Change = (bytes, { random }) => {
  if (bytes.length < 2) return bytes;
  const at = random.below(bytes.length - 1);
  const value = random.below(2) === 0 ? random.pick(wide) : bytes.readUInt16BE(at) + random.below(65) - 32;
  bytes.writeUInt16BE(value & 0xffff, at);
  return bytes;
};

const insertBytes: Change = (bytes, { random }) => {
  const added = Buffer.alloc(1 + random.below(random.below(8) === 0 ? 300 : 8), random.below(256));
  for (let at = 0; at < added.length && random.below(2) === 0; at++) added[at] = random.below(256);
  return replace(bytes, random.below(bytes.length + 1), 0, added);
};

const removeBytes: Change = (bytes, { random }) => {
  const at = random.below(bytes.length + 1);
  return replace(bytes, at, 1 + random.below(random.below(4) === 0 ? 200 : 8), none);
};

const repeatBytes: Change = (bytes, { random }) => {
  const at = random.below(bytes.length + 1);
  const piece = bytes.subarray(at, at + 1 + random.below(64));
  return replace(bytes, random.below(bytes.length + 1), 0, piece);
};

const cut: Change = (bytes, { random }) => bytes.subarray(0, random.below(bytes.length + 1));

const insertToken: Change = (bytes, { random, tokens }) =>
  tokens.length === 0 ? bytes : replace(bytes, random.below(bytes.length + 1), 0, random.pick(tokens));

const overwriteWithToken: Change = (bytes, { random, tokens }) => {
  if (tokens.length === 0) return bytes;
  const token = random.pick(tokens);
  return replace(bytes, random.below(bytes.length + 1), token.length, token);
};

const takeFromOther: Change = (bytes, { random, pool }) => {
  const other = random.pick(pool);
  const from = random.below(other.length + 1);
  const piece = other.subarray(from, from + 1 + random.below(128));
  const at = random.below(bytes.length + 1);
  return replace(bytes, at, random.below(2) === 0 ? 0 : piece.length, piece);
};

/** The front of this one, the rest of another. */
const cross: Change = (bytes, { random, pool }) => {
  const other = random.pick(pool);
  return Buffer.concat([
    bytes.subarray(0, random.below(bytes.length + 1)),
    other.subarray(random.below(other.length + 1)),
  ]);
};

// biome-ignore format: one line a group.
const kinds: readonly Change[] = [
  flipBit, flipBit, setByte, setByte, setByte, addToByte, changeUint16, changeUint16, insertBytes, removeBytes,
  repeatBytes, cut, insertToken, overwriteWithToken, takeFromOther, cross,
];

const none = Buffer.alloc(0);

function replace(bytes: Buffer, at: number, removed: number, added: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + removed)]);
}
