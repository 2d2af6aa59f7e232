/**
 * A second reader of ClientHellos, to hold ours against: the same rules (RFC 8446 §4.1.2, §5.1, RFC 6066 §3, RFC 7301 §3.1),
 * written for whole hellos and without a thought of speed, so that the two can hardly be wrong in the same place.
 */
import type { ClientHello } from '../../src/peek/client-hello.ts';

/** Thrown by the reader; anything else that it throws is a fault of its own. */
export class Malformed extends Error {}

/** What the bytes say. Undefined if the hello is not whole; throws Malformed. Knows no limit but that of 64 KiB. */
export function readPlainly(wire: Buffer): { hello: ClientHello; message: Buffer } | undefined {
  const message = gather(wire);
  if (message === undefined) return undefined;
  const all = new Reader(message);
  all.take(4);
  const legacyVersion = all.number(2);
  all.take(32);
  require(all.vector(1).length <= 32);
  const ciphers = all.within(2).numbers();
  require(all.vector(1).includes(0));
  const extensions = new Map<number, Buffer>();
  if (!all.isAtEnd) {
    const list = all.within(2);
    all.end();
    while (!list.isAtEnd) {
      const type = list.number(2);
      require(!extensions.has(type));
      extensions.set(type, list.vector(2));
      require(type !== 41 || list.isAtEnd);
    }
  }
  const list = (type: number, size: number): number[] => {
    const data = extensions.get(type);
    return data === undefined ? [] : only(data, size).numbers();
  };
  return {
    message,
    hello: {
      sni: serverName(extensions.get(0)),
      alpn: protocols(extensions.get(16)),
      legacyVersion,
      versions: list(43, 1),
      ciphers,
      extensions: [...extensions.keys()],
      groups: list(10, 2),
      signatureAlgorithms: list(13, 2),
      tickets: [extensions.get(35) ?? none, ...preSharedKeys(extensions.get(41)).slice(0, 8)].filter(
        (key) => key.length >= 16,
      ),
      hasEch: extensions.has(0xfe0d),
    },
  };
}

function gather(wire: Buffer): Buffer | undefined {
  const rest = new Reader(wire);
  let message = none;
  for (;;) {
    if (rest.left.length < 5) {
      require(rest.left.length < 1 || rest.left[0] === 22);
      require(rest.left.length < 2 || rest.left[1] === 3);
      return undefined;
    }
    const [type, major] = rest.take(2);
    require(type === 22 && major === 3);
    rest.take(1);
    const length = rest.number(2);
    require(length > 0 && length <= 16_384);
    const isWhole = rest.left.length >= length;
    const before = message.length;
    message = Buffer.concat([message, rest.take(Math.min(length, rest.left.length))]);
    require(message.length === 0 || message[0] === 1);
    if (message.length >= 4) {
      const announced = 4 + message.readUIntBE(1, 3);
      require(wire.length - rest.left.length + announced - message.length <= 65_536);
      require(before + length <= announced);
      if (message.length === announced) return message;
    }
    if (!isWhole) return undefined;
  }
}

function serverName(data: Buffer | undefined): string | undefined {
  if (data === undefined) return undefined;
  const names = only(data, 2);
  require(names.number(1) === 0);
  const name = names.vector(2).toString('latin1').replace(/\.$/, '');
  names.end();
  require(name.length <= 253);
  require(/^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/.test(name));
  return name.toLowerCase();
}

function protocols(data: Buffer | undefined): string[] {
  if (data === undefined) return [];
  const names = only(data, 2);
  const found: string[] = [];
  do {
    const name = names.vector(1).toString('latin1');
    require(name !== '');
    found.push(name);
  } while (!names.isAtEnd);
  return found;
}

function preSharedKeys(data: Buffer | undefined): Buffer[] {
  if (data === undefined) return [];
  const parts = new Reader(data);
  const identities = parts.within(2);
  const binders = parts.within(2);
  parts.end();
  const keys: Buffer[] = [];
  do {
    keys.push(identities.vector(2));
    require(keys.at(-1)?.length !== 0);
    identities.take(4);
  } while (!identities.isAtEnd);
  for (const _ of keys) require(binders.vector(1).length >= 32);
  binders.end();
  return keys;
}

/** The inside of a vector that is all there is. */
function only(data: Buffer, size: number): Reader {
  const outside = new Reader(data);
  const inside = outside.within(size);
  outside.end();
  return inside;
}

class Reader {
  left: Buffer;

  constructor(bytes: Buffer) {
    this.left = bytes;
  }

  get isAtEnd(): boolean {
    return this.left.length === 0;
  }

  take(length: number): Buffer {
    require(length <= this.left.length);
    const taken = this.left.subarray(0, length);
    this.left = this.left.subarray(length);
    return taken;
  }

  number(size: number): number {
    return this.take(size).readUIntBE(0, size);
  }

  vector(size: number): Buffer {
    return this.take(this.number(size));
  }

  within(size: number): Reader {
    return new Reader(this.vector(size));
  }

  /** Two bytes each, to the end, and at least one. */
  numbers(): number[] {
    const values: number[] = [];
    do values.push(this.number(2));
    while (!this.isAtEnd);
    return values;
  }

  end(): void {
    require(this.isAtEnd);
  }
}

const none: Buffer = Buffer.alloc(0);

function require(holds: boolean): void {
  if (!holds) throw new Malformed();
}
