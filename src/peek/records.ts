/** TLS records as a server sends them, and the handshake messages in them (RFC 8446 §§4, 5.1). */
import { Malformed } from './cursor.ts';

/** A complete record; `header` is what AEADs authenticate. */
type TlsRecord = { readonly type: number; readonly header: Buffer; readonly body: Buffer };

/** The first byte of a record, and so of any ClientHello. */
export const contentTypes = { alert: 21, handshake: 22, applicationData: 23 } as const;

/** The complete records at the start of the bytes. */
export function splitRecords(bytes: Buffer): TlsRecord[] {
  // struct { ContentType type; ProtocolVersion legacy_record_version = 3.x; opaque fragment<0..2^14+2048>; }
  const records: TlsRecord[] = [];
  for (let at = 0; at + 5 <= bytes.length; ) {
    const end = at + 5 + bytes.readUInt16BE(at + 3);
    if (bytes[at + 1] !== 3) throw new Malformed(`a record of version ${bytes[at + 1]}.x`);
    if (end - at - 5 > 16_384 + 2048) throw new Malformed(`a record of ${end - at - 5} bytes`);
    if (end > bytes.length) break;
    records.push({
      type: bytes[at] ?? 0,
      header: bytes.subarray(at, at + 5),
      body: bytes.subarray(at + 5, end),
    });
    at = end;
  }
  return records;
}

export type Message = { readonly type: number; readonly body: Buffer };

/** The complete handshake messages at the start of the bytes. */
export function splitMessages(bytes: Buffer): Message[] {
  // struct { HandshakeType msg_type; uint24 length; … } Handshake;
  const messages: Message[] = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const end = at + 4 + bytes.readUIntBE(at + 1, 3);
    if (end > bytes.length) break;
    messages.push({ type: bytes[at] ?? 0, body: bytes.subarray(at + 4, end) });
    at = end;
  }
  return messages;
}

export const messageTypes = {
  serverHello: 2,
  encryptedExtensions: 8,
  certificate: 11,
  serverKeyExchange: 12,
  certificateRequest: 13,
  serverHelloDone: 14,
} as const;
