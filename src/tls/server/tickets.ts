/**
 * Session-ticket keys: one set per TLS policy and master, so that processes need to share only the masters.
 */
import { createHash, hkdfSync } from 'node:crypto';
import type { Server } from 'node:tls';
import type { TicketMasterSource } from './ticket-masters.ts';
import { openTicket, type TicketSession, ticketName } from './ticket-session.ts';

/**
 * A digest of everything that decides who may resume: two policies share one only if they are the same
 * policy. A change of authority, CRL, pin or rule therefore voids the tickets by itself.
 */
export function policyDigest(parts: readonly unknown[]): Buffer {
  return createHash('sha256').update(JSON.stringify(parts)).digest();
}

/** A server that issues and accepts tickets of one set of keys. */
export type TicketServer = { readonly server: Server; readonly setKeys: (keys: Buffer) => void };

/** Whether the client that brings a ticket may resume the session in it. */
export type SessionJudge = (session: TicketSession) => boolean;

/**
 * The servers of one policy, one per set of keys whose tickets still arrive, since giving a server new keys
 * voids all its older tickets. `createServer` gets the 48 bytes that Node takes as `ticketKeys`.
 *
 * The returned function picks the server for a client by its tickets. If one of them holds a session that may
 * not be resumed, it picks a server that does not know their keys, so a full handshake follows. Without a
 * judge it opens none. It reads the masters on each call, so nothing has to happen when they change. A client
 * that brings tickets of earlier keys gets new ones of the same keys, which expire with those keys: that
 * bounds how long a session can be prolonged (RFC 8446 §4.6.1).
 */
export function createServersByTicket(
  source: TicketMasterSource,
  digest: Buffer,
  mayResume: SessionJudge | undefined,
  createServer: (ticketKeys: Buffer) => TicketServer,
): (tickets: readonly Buffer[]) => Server {
  let masters = source.read();
  let generations = turn([], masters, digest);
  return (tickets) => {
    const latest = source.read();
    if (latest !== masters) {
      masters = latest;
      generations = turn(generations, masters, digest);
    }
    const names = tickets.map(ticketName);
    const isVoid = (ticket: Buffer, index: number): boolean => {
      const keys = generations.find(({ name }) => name === names[index])?.keys;
      const session = keys && mayResume && openTicket(ticket, keys);
      return session !== undefined && !mayResume?.(session);
    };
    const wanted = !tickets.some(isVoid);
    // `generations` is never empty.
    const chosen = generations.find(({ name }) => names.includes(name) === wanted) ?? generations[0]!;
    chosen.server ??= createServer(chosen.keys);
    return chosen.server.server;
  };
}

/** Keys of this policy. `name` is the part of them that a ticket shows; the current keys come first. */
type Generation = { readonly name: string; readonly keys: Buffer; server: TicketServer | undefined };

/**
 * The generations after the masters have changed: one per master, and a spare for clients whose ticket is
 * void. A server costs 270 µs and 52 KB, so existing servers are reused: one whose keys have expired becomes
 * the current one, and any other is created only when a client needs it.
 */
function turn(
  before: readonly Generation[],
  { current, accepted }: ReturnType<TicketMasterSource['read']>,
  digest: Buffer,
): Generation[] {
  const masters = [current, ...accepted];
  const after = ['penstock session tickets', 'penstock spare tickets'].flatMap((use) =>
    masters.map((master): Generation => {
      const keys = ticketKeys(master, digest, use);
      const name = ticketName(keys);
      return before.find((one) => one.name === name) ?? { name, keys, server: undefined };
    }),
  );
  const [first] = after;
  if (first && first.server === undefined) {
    const made = before.filter(({ server }) => server !== undefined);
    const giver = made.find((one) => !after.includes(one)) ?? made[0];
    first.server = giver?.server;
    if (giver) giver.server = undefined;
    first.server?.setKeys(first.keys);
  }
  return after;
}

/** 16 bytes of name, 16 of HMAC key, 16 of AES key: HKDF-SHA-256 (RFC 5869). */
function ticketKeys(master: Uint8Array, digest: Buffer, use: string): Buffer {
  return Buffer.from(hkdfSync('sha256', master, digest, use, 48));
}
