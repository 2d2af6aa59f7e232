/** Finds a ClientHello in the records it arrives in (RFC 8446 §5.1), however they are cut. */
import { invalid, tooLarge } from './hello-faults.ts';
import { notTls } from './not-tls.ts';

/** The most that a hello may occupy on the wire, including record headers. */
export const maxHelloBytes = 65_536;

/**
 * For one connection. Call it with all bytes since the first: it returns the length of the handshake message
 * once its last record has arrived, and undefined before.
 */
export function messageFinder(): (bytes: Buffer) => number | undefined {
  const progress: Progress = { recordStart: 0, received: 0, headerBytes: 0, header: 0 };
  return (bytes) => findMessage(progress, bytes);
}

type Progress = {
  /** Where the current record's header starts. */
  recordStart: number;
  /** Handshake bytes in the records before this one. */
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
      // RFC 8446 §5.1: nothing may follow it in its record, because the keys change (or it
      // is the server's turn) after it.
      if (end > messageEnd) throw invalid(`${end - messageEnd} handshake bytes follow it in its record`);
      if (end === messageEnd) return bytes.length < end ? undefined : length;
    }
    if (bytes.length < end) return undefined;
    progress.received += end - start;
    progress.recordStart = end;
  }
  return undefined;
}

/** Whether the record header at `at` is complete. Throws as soon as one of its bytes is wrong. */
function checkRecordHeader(bytes: Buffer, at: number): boolean {
  // struct { ContentType type = 22; ProtocolVersion legacy_record_version = 3.x; uint16 length<1..2^14>; … }
  // TLSPlaintext;
  const available = bytes.length - at;
  if (available > 0 && bytes[at] !== 22) {
    throw at === 0 ? notTls(bytes) : invalid(`a record of type ${bytes[at]} interrupts it`);
  }
  if (available > 1 && bytes[at + 1] !== 3) {
    throw at === 0 ? notTls(bytes) : invalid(`a record of version ${bytes[at + 1]}.x interrupts it`);
  }
  if (available < 5) return false;
  const length = bytes.readUInt16BE(at + 3);
  if (length === 0 || length > 16_384) throw invalid(`a record of ${length} bytes`);
  return true;
}

/**
 * Takes the part of the message's header that lies in the record from `start` to `end`;
 * it may come one byte per record.
 */
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

/** The handshake message without its record headers; copies only if there are several records. */
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
