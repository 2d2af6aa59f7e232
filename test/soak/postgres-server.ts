/**
 * As much of a PostgreSQL server as a soak asks for: over TLS, it answers every simple query with its own text, and
 * `sleep` with nothing until it is cancelled.
 */
import { randomInt } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Server as TlsServer } from 'node:tls';
import { errorResponse } from '../../src/protocols/postgres/preamble.ts';
import type { EndpointCounts } from './endpoint.ts';

type Session = { readonly key: number; cancel: () => void };
const sessions = new Map<number, Session>();

/** Takes a connection before TLS: an SSLRequest, whose TLS server it is handed to. */
export function answerSslRequest(raw: Socket, tls: TlsServer): void {
  raw.once('data', (bytes: Buffer) => {
    if (bytes.length !== 8 || bytes.readUInt32BE(4) !== 80877103) return void raw.destroy();
    raw.write('S');
    tls.emit('connection', raw);
  });
}

/** Serves one session within TLS. */
export function servePostgres(stream: Duplex, counts: EndpointCounts): void {
  counts.connections += 1;
  const pid = randomInt(1, 2 ** 31);
  let unread = Buffer.alloc(0);
  let started = false;
  stream.on('error', () => {
    counts.resets += 1;
  });
  stream.on('close', () => sessions.delete(pid));
  stream.on('end', () => stream.end());
  stream.on('data', (chunk: Buffer) => {
    unread = Buffer.concat([unread, chunk]);
    for (;;) {
      // Int32 length behind the type's byte, which the first message does not have.
      const ahead = started ? 1 : 0;
      if (unread.length < ahead + 4) return;
      const length = ahead + unread.readUInt32BE(ahead);
      if (unread.length < length) return;
      const message = unread.subarray(0, length);
      unread = unread.subarray(length);
      counts.bytes += length;
      if (started) onMessage(stream, message, pid);
      else {
        started = true;
        begin(stream, message, pid);
      }
    }
  });
}

function begin(stream: Duplex, startup: Buffer, pid: number): void {
  if (startup.readUInt32BE(4) === 80877102) {
    const session = sessions.get(startup.readUInt32BE(8));
    if (session?.key === startup.readInt32BE(12)) session.cancel();
    return void stream.end();
  }
  const key = randomInt(1, 2 ** 31);
  sessions.set(pid, { key, cancel() {} });
  const parameter = text('server_version', '17.0');
  stream.write(Buffer.concat([tagged('R', int32(0)), tagged('S', parameter), backendKey(pid, key), ready()]));
}

function onMessage(stream: Duplex, message: Buffer, pid: number): void {
  if (message[0] === 0x58) return void stream.end(); // 'X'
  if (message[0] !== 0x51) return; // 'Q'
  const query = message.subarray(5, message.length - 1);
  const session = sessions.get(pid);
  if (query.equals(Buffer.from('sleep')) && session) {
    session.cancel = () => {
      session.cancel = () => {};
      stream.write(
        Buffer.concat([errorResponse('57014', 'canceling statement due to user request'), ready()]),
      );
    };
    return;
  }
  stream.write(Buffer.concat([rowDescription, dataRow(query), tagged('C', text('SELECT 1')), ready()]));
}

function dataRow(value: Buffer): Buffer {
  return tagged('D', Buffer.concat([int16(1), int32(value.length), value]));
}

// String name, Int32 table, Int16 column, Int32 type (25: text), Int16 size, Int32 modifier, Int16 format
const rowDescription = tagged(
  'T',
  Buffer.concat([int16(1), text('said'), int32(0), int16(0), int32(25), int16(-1), int32(-1), int16(0)]),
);

function backendKey(pid: number, key: number): Buffer {
  return tagged('K', Buffer.concat([int32(pid), int32(key)]));
}

function ready(): Buffer {
  return tagged('Z', Buffer.from('I'));
}

function tagged(type: string, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body]);
}

function text(...words: string[]): Buffer {
  return Buffer.from(words.map((word) => `${word}\0`).join(''));
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}
