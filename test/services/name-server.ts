/** A name server for programs that find others by DNS: answers with the records that it is given, and that there are no others. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { TestContext } from 'node:test';

/** By type and name, as in `SRV _xmpp-server._tcp.a.example`. */
export type Records = Readonly<Record<string, Buffer>>;

/** Priority and weight 0. */
export function service(target: string, port: number): Buffer {
  return Buffer.concat([Buffer.from([0, 0, 0, 0, port >>> 8, port & 0xff]), encodeName(target)]);
}

export const loopback: Buffer = Buffer.from([127, 0, 0, 1]);

/** Listens on 127.0.0.1, until the test ends. Returns its UDP port. */
export async function startNameServer(t: TestContext, records: Records): Promise<number> {
  const socket = createSocket('udp4');
  socket.on('message', (query, { port, address }) => {
    socket.send(answerTo(query, records), port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.after(() => socket.close());
  return socket.address().port;
}

const types: Readonly<Record<number, string>> = { 1: 'A', 33: 'SRV' };

/** RFC 1035 §4.1: a header of 12 bytes, the question, and an answer that refers to the question's name. */
function answerTo(query: Buffer, records: Records): Buffer {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  const type = query.readUInt16BE(at + 1);
  const question = query.subarray(12, at + 5);
  const found = records[`${types[type]} ${labels.join('.').toLowerCase()}`];
  // QR, AA, RD and RA; one question.
  const header = Buffer.from([query[0] ?? 0, query[1] ?? 0, 0x85, 0x80, 0, 1, 0, found ? 1 : 0, 0, 0, 0, 0]);
  if (found === undefined) return Buffer.concat([header, question]);
  const record = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, found.length]);
  return Buffer.concat([header, question, record, found]);
}

function encodeName(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`));
  return Buffer.concat([...labels, Buffer.alloc(1)]);
}
