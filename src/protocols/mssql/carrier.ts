/**
 * TLS as TDS up to 7.4 carries it: in PRELOGIN packets until the handshake is over, by itself from then on.
 * Both sides of a carrier know where that is from the records: each side's Finished is what follows its
 * ChangeCipherSpec. Under TLS 1.3 neither could be seen, which is why TDS 7 has no TLS 1.3.
 */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { encodePackets, type Fault, headerLength, readPacket, types } from './packets.ts';

/** What these bytes hold of TLS; they may end within a packet. Throws what `fault` returns for others. */
export function unwrap(bytes: Buffer, fault: Fault): Buffer {
  const parts: Buffer[] = [];
  for (let rest = bytes; rest.length > 0; ) {
    const packet = readPacket(rest, [types.prelogin], fault);
    if (packet === undefined) {
      parts.push(rest.subarray(headerLength));
      break;
    }
    parts.push(packet.payload);
    rest = rest.subarray(packet.length);
  }
  return Buffer.concat(parts);
}

export function wrap(bytes: Buffer): Buffer {
  return encodePackets(types.prelogin, bytes);
}

/** Follows the records of one side, up to its Finished. */
export class Records {
  isFinished = false;
  #hasChanged = false;
  /** The header of the record under way, as far as it is there, and how much of its content is missing. */
  #header: number[] = [];
  #missing = 0;

  /** How many of these bytes belong to the handshake: all, until this side's Finished is among them. */
  take(bytes: Buffer): number {
    let at = 0;
    while (at < bytes.length && !this.isFinished) {
      if (this.#header.length < recordHeader) {
        this.#header.push(bytes[at] ?? 0);
        at += 1;
        if (this.#header.length < recordHeader) continue;
        const [, , , high = 0, low = 0] = this.#header;
        this.#missing = high * 256 + low;
      } else {
        const taken = Math.min(this.#missing, bytes.length - at);
        this.#missing -= taken;
        at += taken;
      }
      if (this.#missing === 0) this.#end();
    }
    return at;
  }

  #end(): void {
    const [type] = this.#header;
    this.#header = [];
    if (type === changeCipherSpec) this.#hasChanged = true;
    else if (type === handshake && this.#hasChanged) this.isFinished = true;
  }
}

const nothing = Buffer.alloc(0);
const patienceMs = 1000;

// ContentType type; ProtocolVersion version; uint16 length
const recordHeader = 5;
const [changeCipherSpec, handshake] = [20, 22];

/** The socket as TLS sees it. Whatever ends one of the two ends the other. */
export class CarriedTls extends Duplex {
  readonly #raw: Socket;
  readonly #fault: Fault;
  readonly #ours = new Records();
  readonly #theirs = new Records();
  /** What has arrived of a packet that is incomplete. */
  #incomplete: Buffer = nothing;

  constructor(raw: Socket, fault: Fault) {
    super({ allowHalfOpen: true });
    this.#raw = raw;
    this.#fault = fault;
    raw.on('data', (chunk: Buffer) => this.#onData(chunk));
    raw.on('end', () => this.push(null));
    raw.on('error', (error) => this.destroy(error));
    raw.on('close', () => this.destroy());
    raw.pause();
  }

  override _read(): void {
    this.#raw.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#raw.write(this.#outward(chunk), done);
  }

  override _final(done: () => void): void {
    this.#raw.end(done);
  }

  /** Reads on for a moment, so that what was written last is not overtaken by a reset. */
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const raw = this.#raw;
    if (!raw.destroyed) {
      const timer = setTimeout(() => raw.destroy(), patienceMs);
      raw.once('close', () => clearTimeout(timer));
      raw.once('end', () => raw.destroy());
      raw.removeAllListeners('data').resume().end();
    }
    done(error);
  }

  #outward(chunk: Buffer): Buffer {
    if (this.#isOver()) return chunk;
    // Once our side has finished, what follows is an alert, or no longer carried.
    const carried = this.#ours.isFinished ? chunk.length : this.#ours.take(chunk);
    const rest = chunk.subarray(carried);
    const first = wrap(chunk.subarray(0, carried));
    return rest.length === 0 ? first : Buffer.concat([first, this.#isOver() ? rest : wrap(rest)]);
  }

  #onData(chunk: Buffer): void {
    try {
      const held = this.#incomplete;
      const inward = this.#inward(held.length === 0 ? chunk : Buffer.concat([held, chunk]));
      if (inward.length > 0 && !this.push(inward)) this.#raw.pause();
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  #inward(bytes: Buffer): Buffer {
    const parts: Buffer[] = [];
    let rest = bytes;
    while (rest.length > 0 && !this.#isBare(rest)) {
      const packet = readPacket(rest, [types.prelogin], this.#fault);
      if (packet === undefined) break;
      this.#theirs.take(packet.payload);
      parts.push(packet.payload);
      rest = rest.subarray(packet.length);
    }
    const isBare = this.#isBare(rest);
    this.#incomplete = isBare ? nothing : rest;
    if (!isBare) return Buffer.concat(parts);
    return parts.length === 0 ? rest : Buffer.concat([...parts, rest]);
  }

  /** Bare records may follow the other side's Finished. They begin with 20 to 23, packets with 18. */
  #isBare([first]: Buffer): boolean {
    return this.#theirs.isFinished && (this.#isOver() || first !== types.prelogin);
  }

  #isOver(): boolean {
    return this.#ours.isFinished && this.#theirs.isFinished;
  }
}
