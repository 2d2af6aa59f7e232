/**
 * KILL. A client that wants to end a query of its own, as the command lines do on Ctrl-C, logs in a second
 * time, and sends KILL with the thread id that the first greeting had. That id is ours; the server has
 * another for the session, and only one server has the session at all.
 */
import { createHash } from 'node:crypto';
import type { CancelCommand, Cancelling } from '../protocol.ts';
import { can } from './capabilities.ts';
import type { Client } from './meeting.ts';
import { encodePacket, errorPacket, readPacket } from './packets.ts';
import { invalid, type Login } from './response.ts';
import { isThreadIdOfOurs } from './thread-ids.ts';

export function cancellingOf(client: Client): Cancelling {
  return {
    alias() {
      const { login, threadId, serverThreadId } = client;
      if (login === undefined || serverThreadId === undefined) return undefined;
      const program = login.capabilities & can.multiStatements ? programOf(login) : undefined;
      return { names: [String(threadId), ...(program ? [program] : [])], number: serverThreadId };
    },
    suspects() {
      const { login } = client;
      if (login === undefined || login.capabilities & can.multiStatements) return undefined;
      return login.database?.length ? undefined : programOf(login);
    },
    read: (bytes) => readKill(bytes, ((client.login?.capabilities ?? 0) & client.offered & compressed) !== 0),
  };
}

/**
 * Which running program of which user this is: command lines send the number of their process along. They
 * want several statements at once and for Ctrl-C they do not, in which they differ from a pool, whose
 * connections are to be balanced one by one.
 */
function programOf({ user, attributes }: Login): string | undefined {
  if (attributes.length === 0) return undefined;
  return createHash('sha256').update(user).update('\0').update(attributes).digest('base64');
}

/**
 * The first command of a client, if it kills a session by a thread id of ours; undefined for all others.
 * Bounded: a longer packet, or one that has not arrived whole, is no such command.
 */
export function readKill(bytes: Buffer, isCompressed: boolean): CancelCommand | undefined {
  const at = isCompressed ? compressedHeader : 0;
  if (bytes.length > maxLength || bytes.length < at + 4) return undefined;
  if (bytes.readUIntLE(at, 3) > maxLength) return undefined;
  const packet = readPacket(bytes.subarray(at), invalid);
  if (packet === undefined || packet.sequence !== 0) return undefined;
  // int<3> length; int<1> number; int<3> length before compression, or 0 for a packet that is as it was
  if (isCompressed && !bytes.subarray(0, at).equals(headerOf(packet.length, 0))) return undefined;
  const { payload } = packet;
  const target = targetOf(payload);
  if (target === undefined || !isThreadIdOfOurs(target.id)) return undefined;
  const wrapped = (inner: Buffer): Buffer => (isCompressed ? wrap(inner) : inner);
  return {
    name: String(target.id),
    length: at + packet.length,
    with: (number) => wrapped(encodePacket(0, target.with(number))),
    refusal: wrapped(
      errorPacket(1, [1094, 'HY000', `Thread ${target.id} is at another server behind this proxy`]),
    ),
  };
}

const compressed = can.compress | can.zstd;

/** Far more than any KILL needs; packets that short are not compressed, even if the client compresses. */
const maxLength = 128;
const compressedHeader = 7;

type Target = { readonly id: number; readonly with: (number: number) => Buffer };

// COM_PROCESS_KILL: int<1> 0x0c; int<4> thread_id
// COM_QUERY: int<1> 0x03; string<EOF> query
function targetOf(payload: Buffer): Target | undefined {
  if (payload[0] === 0x0c && payload.length === 5) return { id: payload.readUInt32LE(1), with: processKill };
  if (payload[0] !== 0x03) return undefined;
  const [, before, id, behind] = killByText.exec(payload.toString('latin1', 1)) ?? [];
  return id === undefined
    ? undefined
    : { id: Number(id), with: (number) => Buffer.from(`\x03${before}${number}${behind}`, 'latin1') };
}

const killByText = /^(\s*KILL\s+(?:(?:HARD|SOFT)\s+)?(?:(?:QUERY|CONNECTION)\s+)?)(\d{10})(\s*;?\s*)$/i;

function processKill(number: number): Buffer {
  const payload = Buffer.from([0x0c, 0, 0, 0, 0]);
  payload.writeUInt32LE(number, 1);
  return payload;
}

function wrap(packet: Buffer): Buffer {
  return Buffer.concat([headerOf(packet.length, packet.readUInt8(3)), packet]);
}

function headerOf(length: number, number: number): Buffer {
  const header = Buffer.alloc(compressedHeader);
  header.writeUIntLE(length, 0, 3);
  header.writeUInt8(number, 3);
  return header;
}
