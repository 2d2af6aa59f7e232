/** The records in which a ClientHello arrives (RFC 8446 §5.1), however it is cut. */
import { invalid, tooLarge } from './hello-faults.ts';
import { notTls } from './not-tls.ts';

/** The most that a hello may take on the wire, record headers included. */
export const maxHelloBytes = 65_536;

/**
 * For one connection. To be called with all bytes since the first: answers the length of the handshake message once its last
 * record is here, undefined before.
 */
export function messageFinder(): (bytes: Buffer) => number | undefined {
  const progress: Progress = { recordStart: 0, received: 0, headerBytes: 0, header: 0 };
  return (bytes) => findMessage(progress, bytes);
}

type Progress = {
  /** Where in the bytes the header of the current record is. */
  recordStart: number;
  /** Handshake bytes in the records before it. */
  received: number;
  /** How many of the handshake message's first four bytes are known, and those bytes as one number. */
  headerBytes: number;
  header: number;
};

function findMessage(progress: Progress, bytes: Buffer): number | undefined {
  while (checkRecordHeader(bytes, progress.recordStart)) {
    const start = progress.recordStart + 5;
    const end = start + bytes.readUInt16BE(start - 2);
    takeHandshakeHeader(progress, bytes, start, end);
    if (progress.headerBytes === 4) {
      const length = 4 + (progress.header & 0xff_ff_ff);
      const messageEnd = start + length - progress.received;
      if (messageEnd > maxHelloBytes) throw tooLarge(length, maxHelloBytes);
      // RFC 8446 §5.1: nothing may share a record with it, since the keys (or the server's turn) come next.
      if (end > messageEnd) throw invalid(`${end - messageEnd} handshake bytes follow it in its record`);
      if (end === messageEnd) return bytes.length < end ? undefined : length;
    }
    if (bytes.length < end) return undefined;
    progress.received += end - start;
    progress.recordStart = end;
  }
  return undefined;
}

/** Whether the header of the record at `at` is whole; refuses it as soon as a byte of it is wrong. */
function checkRecordHeader(bytes: Buffer, at: number): boolean {
  // struct { ContentType type = 22; ProtocolVersion legacy_record_version = 3.x; uint16 length<1..2^14>; … } TLSPlaintext
  const available = bytes.length - at;
  if (available > 0 && bytes[at] !== 22) {
    throw at === 0 ? notTls(bytes) : invalid(`a record of type ${bytes[at]} stands within it`);
  }
  if (available > 1 && bytes[at + 1] !== 3) {
    throw at === 0 ? notTls(bytes) : invalid(`a record of version ${bytes[at + 1]}.x stands within it`);
  }
  if (available < 5) return false;
  const length = bytes.readUInt16BE(at + 3);
  if (length === 0 || length > 16_384) throw invalid(`a record of ${length} bytes`);
  return true;
}

/** Takes what the record from `start` to `end` holds of the message's header; it may come a byte a record. */
function takeHandshakeHeader(progress: Progress, bytes: Buffer, start: number, end: number): void {
  // struct { HandshakeType msg_type = 1; uint24 length; … } Handshake
  const available = Math.min(end, bytes.length);
  while (progress.headerBytes < 4) {
    const at = start + progress.headerBytes - progress.received;
    if (at >= available) return;
    progress.header = progress.header * 256 + bytes[at]!;
    progress.headerBytes += 1;
    if (progress.headerBytes === 1 && progress.header !== 1) {
      throw invalid(`the first handshake message is of type ${progress.header}, not 1`);
    }
  }
}

/** The handshake message out of its records, copied only if there are several. */
export function reassemble(bytes: Buffer, length: number): Buffer {
  if (bytes.readUInt16BE(3) === length) return bytes.subarray(5, 5 + length);
  const message = Buffer.allocUnsafe(length);
  for (let at = 0, record = 0; at < length; ) {
    const end = record + 5 + bytes.readUInt16BE(record + 3);
    at += bytes.copy(message, at, record + 5, end);
    record = end;
  }
  return message;
}
