/**
 * A toy server for the demo that speaks just enough of PostgreSQL's protocol 3.0 for psql and most drivers:
 * anyone may log in, and every simple query gets the same one row. It has no TLS, which is penstock's job.
 */
import type { Socket } from 'node:net';

/** A message after the startup: its type, and what follows the length. */
export type Message = { readonly type: string; readonly body: Buffer };

const maxMessage = 1024 * 1024;

/** Serves one client until it sends Terminate or leaves. */
export function serveToyPostgres(socket: Socket): void {
  let held: Buffer = Buffer.alloc(0);
  let user: string | undefined;
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    held = Buffer.concat([held, chunk]);
    if (user === undefined) {
      const startup = takeStartup(held);
      if (startup === undefined) return;
      held = startup.rest;
      user = logIn(socket, startup.body);
      if (user === undefined) return;
    }
    const { messages, rest } = takeMessages(held);
    held = rest;
    for (const message of messages) answer(socket, message, user);
    if (held.length > maxMessage) socket.destroy();
  });
}

/** Byte1 type, Int32 length (itself included), body. */
export function encodeMessage(type: string, body: Buffer | string = ''): Buffer {
  const bytes = Buffer.from(body);
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeInt32BE(bytes.length + 4, 1);
  return Buffer.concat([head, bytes]);
}

/** The complete messages at the start of `held`, and the rest. */
export function takeMessages(held: Buffer): { messages: Message[]; rest: Buffer } {
  const messages: Message[] = [];
  let rest = held;
  while (rest.length >= 5) {
    const end = 1 + rest.readUInt32BE(1);
    if (rest.length < end || end < 5) break;
    messages.push({ type: rest.toString('latin1', 0, 1), body: rest.subarray(5, end) });
    rest = rest.subarray(end);
  }
  return { messages, rest };
}

/** StartupMessage, SSLRequest and similar messages have no type: Int32 length, Int32 code, body. */
function takeStartup(held: Buffer): { body: Buffer; rest: Buffer } | undefined {
  const length = held.length >= 4 ? Math.max(8, held.readUInt32BE(0)) : Number.POSITIVE_INFINITY;
  return held.length < length ? undefined : { body: held.subarray(4, length), rest: held.subarray(length) };
}

/** The user's name; undefined if this was a request instead of a StartupMessage. */
function logIn(socket: Socket, startup: Buffer): string | undefined {
  const code = startup.readUInt32BE(0);
  if (code >>> 16 === 1234) {
    // A CancelRequest gets no answer; the others ask for encryption.
    if (code === 80877102) socket.end();
    else socket.write('N');
    return undefined;
  }
  // Pairs of name and value, each ended by a zero byte.
  const words = startup.toString('utf8', 4).split('\0');
  const at = words.findIndex((word, index) => index % 2 === 0 && word === 'user');
  const settings = { server_version: '15.0 (toy)', server_encoding: 'UTF8', client_encoding: 'UTF8' };
  socket.write(
    Buffer.concat([
      encodeMessage('R', int32(0)), // AuthenticationOk
      ...Object.entries(settings).map(([name, value]) => encodeMessage('S', `${name}\0${value}\0`)),
      encodeMessage('K', Buffer.concat([int32(1), int32(1)])), // BackendKeyData
      ready,
    ]),
  );
  return words[at + 1] ?? '';
}

function answer(socket: Socket, { type, body }: Message, user: string): void {
  switch (type) {
    case 'Q':
      socket.write(oneRow(user, body.toString('utf8', 0, Math.max(0, body.length - 1))));
      return;
    case 'P': // Parse: the extended protocol
      socket.write(
        encodeMessage('E', 'SERROR\0VERROR\0C0A000\0Mthe demo server takes simple queries only\0\0'),
      );
      return;
    case 'S': // Sync
      socket.write(ready);
      return;
    case 'X':
      socket.end();
  }
}

/** RowDescription, DataRow, CommandComplete, ReadyForQuery. */
function oneRow(user: string, query: string): Buffer {
  const row = { server: "the demo's toy database", user, query };
  const columns = Object.keys(row).map((name) =>
    // No table; type text (25), any length, text format.
    Buffer.concat([Buffer.from(`${name}\0`), int32(0), int16(0), int32(25), int16(-1), int32(-1), int16(0)]),
  );
  const values = Object.values(row).map((value) =>
    Buffer.concat([int32(Buffer.byteLength(value)), Buffer.from(value)]),
  );
  return Buffer.concat([
    encodeMessage('T', Buffer.concat([int16(columns.length), ...columns])),
    encodeMessage('D', Buffer.concat([int16(values.length), ...values])),
    encodeMessage('C', 'SELECT 1\0'),
    ready,
  ]);
}

const ready = encodeMessage('Z', 'I');

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
