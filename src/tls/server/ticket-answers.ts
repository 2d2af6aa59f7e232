/**
 * How a server answers tickets under TLS 1.3, where Node's options have no effect: Node's own
 * callback never asks OpenSSL for a new ticket when a session is resumed, and nothing keeps a
 * full handshake from sending two.
 *
 * Node has a callback that can do both, but only for its own tests
 * (test/parallel/test-https-resume-after-renew.js), so it is not documented; it is the same in Node 20 to 26.
 * Only this file knows about it. If it is missing, sessions resume without a new ticket, and where there
 * should be no tickets, two useless ones are sent.
 */
import { randomFillSync } from 'node:crypto';
import type { Server } from 'node:tls';

/**
 * `renew`: a resumed handshake gets one new ticket, a full one two, each in a record of its own. `none`:
 * sends no tickets, and accepts none.
 */
type TicketAnswers = 'renew' | 'none';

/**
 * Makes the server answer like this, with these keys; the returned function replaces them.
 * Undefined if Node cannot do it.
 */
export function answerTickets(
  server: Server,
  answers: TicketAnswers,
  first: Buffer,
): ((keys: Buffer) => void) | undefined {
  const { context } = (server as unknown as { _sharedCreds?: { context?: Context } })._sharedCreds ?? {};
  if (typeof context?.enableTicketKeyCallback !== 'function') return undefined;
  let keys = split(first);
  // OpenSSL calls this in the middle of its work: it must not throw or wait.
  context.onticketkeycallback = (name, iv, isNew) => {
    const { hmac, aes } = keys;
    if (answers === 'none') return [results.none, hmac, aes, name, iv];
    if (isNew) return [results.use, hmac, aes, keys.name, fillRandomly(iv)];
    return [name.equals(keys.name) ? results.renew : results.none, hmac, aes, name, iv];
  };
  context.enableTicketKeyCallback();
  return (next) => {
    keys = split(next);
  };
}

/** Asking for random bytes costs more than sealing a ticket: we ask for many at a time, and use each once. */
function fillRandomly(iv: Buffer): Buffer {
  if (used + iv.length > random.length) {
    randomFillSync(random);
    used = 0;
  }
  random.copy(iv, 0, used, used + iv.length);
  used += iv.length;
  return iv;
}

const random = Buffer.allocUnsafeSlow(4096);
let used = random.length;

/** Each part of a ticket's keys is 16 bytes; Node copies the buffers that are returned. */
type Context = {
  enableTicketKeyCallback?: () => void;
  onticketkeycallback?: (
    name: Buffer,
    iv: Buffer,
    isNew: boolean,
  ) => [result: number, hmac: Buffer, aes: Buffer, name: Buffer, iv: Buffer];
};

/** For received tickets and for new ones: SSL_CTX_set_tlsext_ticket_key_evp_cb(3). */
const results = { none: 0, use: 1, renew: 2 } as const;

/** The 48 bytes of Node's `ticketKeys`. */
function split(keys: Buffer) {
  return { name: keys.subarray(0, 16), hmac: keys.subarray(16, 32), aes: keys.subarray(32, 48) };
}
