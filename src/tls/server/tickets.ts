/** Session-ticket keys: a set for each TLS policy and each master, so that processes need to share masters only. */
import { createHash, hkdfSync } from 'node:crypto';
import type { Server } from 'node:tls';
import type { TicketMasterSource } from './ticket-masters.ts';
import { openTicket, type TicketSession, ticketName } from './ticket-session.ts';

/**
 * A digest of all that decides who may resume: two policies share one only if they are the same policy. It voids the
 * tickets by itself when an authority, CRL, pin or rule changes.
 */
export function policyDigest(parts: readonly unknown[]): Buffer {
  return createHash('sha256').update(JSON.stringify(parts)).digest();
}

/** A server that takes and issues tickets of one set of keys. */
export type TicketServer = { readonly server: Server; readonly setKeys: (keys: Buffer) => void };

/** Whether the session in a ticket may be resumed by the client that brings it. */
export type SessionJudge = (session: TicketSession) => boolean;

/**
 * The servers of one policy, one for each set of keys whose tickets come: new keys void all older tickets of a server.
 * `createServer` gets the 48 bytes that Node takes as `ticketKeys`.
 *
 * The answer picks the server for a client by the tickets that it brings, and a server that does not know their keys if
 * one of them holds a session that may not be resumed: a full handshake follows. Without a judge none is opened. The
 * masters are looked at then, so nothing has to happen when they change. A client that brings earlier tickets gets new ones
 * of the same earlier keys, which go when those go: that bounds how long a session is prolonged (RFC 8446 §4.6.1).
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
    const chosen = generations.find(({ name }) => names.includes(name) === wanted) ?? generations[0]!; // never empty
    chosen.server ??= createServer(chosen.keys);
    return chosen.server.server;
  };
}

/** Keys of this policy. `name` is what a ticket shows of them; the current ones come first. */
type Generation = { readonly name: string; readonly keys: Buffer; server: TicketServer | undefined };

/**
 * The generations after the masters have changed: of each master one, and a spare for those whose ticket is void. A server
 * costs 270 µs and 52 KB, so those there are serve on: what was left behind becomes the current one, and any other is
 * made only when a client needs it.
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
