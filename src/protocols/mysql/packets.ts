/**
 * The packets of MySQL's and MariaDB's protocol, and what errors look like in them. Pure: bytes in, bytes
 * out. MySQL's internals manual, "Client/Server Protocol"; MariaDB's documentation, "Protocol".
 */
import type { Fault } from '../faults.ts';

/** A payload, and its number in the exchange. `length` is that of the whole packet. */
export type Packet = { readonly sequence: number; readonly payload: Buffer; readonly length: number };

/** Far more than any message needs before a login is complete: connection attributes may take most of it. */
export const maxPayload = 65_535;

// int<3> payload_length; int<1> sequence_id; payload
const headerLength = 4;

/**
 * The first packet, given all that has arrived; undefined if more is needed. Throws what `invalid` returns
 * if it cannot become one of at most `max` bytes.
 */
export function readPacket(bytes: Buffer, invalid: Fault, max = maxPayload): Packet | undefined {
  if (bytes.length < headerLength) return undefined;
  const size = bytes.readUIntLE(0, 3);
  if (size > max) throw invalid(`sends a packet of more than ${max} bytes`);
  const length = headerLength + size;
  if (bytes.length < length) return undefined;
  return { sequence: bytes.readUInt8(3), payload: bytes.subarray(headerLength, length), length };
}

/** Numbers count up to 255, and begin again with 0. */
export function encodePacket(sequence: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(headerLength);
  header.writeUIntLE(payload.length, 0, 3);
  header.writeUInt8(sequence & 0xff, 3);
  return Buffer.concat([header, payload]);
}

/** `code` and `state` are from the servers' own lists of errors. The user sees the text exactly as given. */
export function errorPacket(sequence: number, [code, state, text]: SqlError): Buffer {
  // int<1> 0xff; int<2> error_code; string[1] '#'; string[5] sql_state; string<EOF> error_message
  const head = Buffer.from([0xff, code & 0xff, code >>> 8]);
  return encodePacket(sequence, Buffer.concat([head, Buffer.from(`#${state}${text}`)]));
}

export type SqlError = readonly [code: number, state: string, text: string];

/** The code in the payload of an error packet, which begins with 0xff. */
export function errorCodeIn(payload: Buffer): number {
  return payload.length < 3 ? 0 : payload.readUInt16LE(1);
}

/** A text up to its NUL; undefined if it has none. */
export function readText(payload: Buffer, from: number): Buffer | undefined {
  const end = payload.indexOf(0, from);
  return end === -1 ? undefined : payload.subarray(from, end);
}

/** The answer to a request to log in, once it is final: 0x00 OK, 0xff error. */
export function isFinal([first]: Buffer): boolean {
  return first === 0x00 || first === 0xff;
}

/** Ends a session. */
export const quit: Buffer = encodePacket(0, Buffer.from([0x01]));
