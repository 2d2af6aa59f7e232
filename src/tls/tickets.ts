/** Session-ticket keys: a set for each TLS policy and each master, so that processes need to share masters only. */
import { createHash, hkdfSync } from 'node:crypto';
import type { Server } from 'node:tls';
import type { TicketMasterSource } from './ticket-masters.ts';

/**
 * A digest of all that decides who may resume: two policies share one only if they are the same policy. It voids the
 * tickets by itself when an authority, CRL, pin or rule changes.
 */
export function policyDigest(parts: readonly unknown[]): Buffer {
  return createHash('sha256').update(JSON.stringify(parts)).digest();
}

/**
 * The servers of one policy, one for each master whose tickets come: a server takes tickets of one set of keys only, and
 * new keys void all older tickets. `createServer` gets the 48 bytes that Node takes as `ticketKeys`.
 *
 * The answer picks the server for a client by the names of the keys that its tickets were made with. The masters are
 * looked at then, so nothing has to happen when they change. A client whose earlier ticket is too old to resume gets new
 * ones of the same earlier keys, which go when those go.
 */
export function createServersByTicket(
  source: TicketMasterSource,
  digest: Buffer,
  createServer: (ticketKeys: Buffer) => Server,
): (ticketNames: readonly string[]) => Server {
  let masters = source.read();
  let generations = turn([], masters, digest);
  return (ticketNames) => {
    const latest = source.read();
    if (latest !== masters) {
      masters = latest;
      generations = turn(generations, masters, digest);
    }
    const known = ticketNames.length > 0 && generations.find(({ name }) => ticketNames.includes(name));
    const chosen = known || (generations[0] as Generation); // there is always a current one
    chosen.server ??= createServer(chosen.keys);
    return chosen.server;
  };
}

/** A master's keys of this policy. `name` is what a ticket shows of them; the current ones come first. */
type Generation = { readonly name: string; readonly keys: Buffer; server: Server | undefined };

/**
 * The generations after the masters have changed. A server costs 270 µs and 52 KB, so those there are serve on: what was
 * left behind becomes the current one, and a server for earlier tickets is made only when such a ticket comes.
 */
function turn(
  before: readonly Generation[],
  { current, accepted }: ReturnType<TicketMasterSource['read']>,
  digest: Buffer,
): Generation[] {
  const after = [current, ...accepted].map((master): Generation => {
    const keys = ticketKeys(master, digest);
    const name = keys.toString('latin1', 0, 16);
    return before.find((one) => one.name === name) ?? { name, keys, server: undefined };
  });
  const [first] = after;
  if (first && first.server === undefined) {
    const made = before.filter(({ server }) => server !== undefined);
    const giver = made.find((one) => !after.includes(one)) ?? made[0];
    first.server = giver?.server;
    if (giver) giver.server = undefined;
    first.server?.setTicketKeys(first.keys);
  }
  return after;
}

/** 16 bytes of name, 16 of HMAC key, 16 of AES key: HKDF-SHA-256 (RFC 5869). */
function ticketKeys(master: Uint8Array, digest: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', master, digest, 'penstock session tickets', 48));
}
