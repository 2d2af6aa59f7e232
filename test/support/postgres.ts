/** PostgreSQL's messages before a session, as clients and servers send them. */
import type { Socket } from 'node:net';

export const sslRequest: Buffer = int32s(8, 80877103);
export const gssRequest: Buffer = int32s(8, 80877104);

/** A StartupMessage of protocol 3.0. */
export function startup(user = 'alice'): Buffer {
  const body = Buffer.from(`user\0${user}\0\0`);
  return Buffer.concat([int32s(8 + body.length, 196608), body]);
}

/** A CancelRequest with this process id and key. */
export function cancelRequest(pid: number, key: Buffer = int32s(7)): Buffer {
  return Buffer.concat([int32s(12 + key.length, 80877102, pid), key]);
}

export type ErrorFields = {
  readonly severity: string | undefined;
  readonly state: string | undefined;
  readonly message: string | undefined;
  readonly hint: string | undefined;
};

/** The fields of an ErrorResponse, which must be all there is. */
export function parseErrorResponse(bytes: Buffer): ErrorFields {
  // Byte1('E'), Int32 length, { Byte1 type, String value } …, Byte1(0)
  if (bytes[0] !== 0x45 || bytes.readUInt32BE(1) !== bytes.length - 1 || bytes.at(-1) !== 0) {
    throw new Error(`not an ErrorResponse: ${JSON.stringify(bytes.toString('latin1'))}`);
  }
  const fields = new Map(
    bytes
      .toString('utf8', 5, bytes.length - 2)
      .split('\0')
      .map((field) => [field[0], field.slice(1)]),
  );
  return {
    severity: fields.get('S'),
    state: fields.get('C'),
    message: fields.get('M'),
    hint: fields.get('H'),
  };
}

/** Collects what a socket sends until there is as much as that, and gives it back. For test upstreams. */
export function readExactly(socket: Socket, length: number): Promise<Buffer> {
  return new Promise((resolve) => {
    const take = () => {
      const bytes: Buffer | null = socket.read(length);
      if (bytes === null) return;
      socket.off('readable', take);
      resolve(bytes);
    };
    socket.on('readable', take);
    take();
  });
}

function int32s(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index);
  return bytes;
}
