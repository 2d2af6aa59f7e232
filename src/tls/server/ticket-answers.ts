/**
 * How a server answers tickets under TLS 1.3, where Node's options have no say: its own callback never asks OpenSSL for
 * a new ticket when a session is resumed, and nothing keeps a full handshake from sending two.
 *
 * Node has a callback that can do both, but only for its own tests (test/parallel/test-https-resume-after-renew.js), so
 * it is documented nowhere; the same in Node 20 to 26. This file alone knows of it. Where it is missing, sessions are
 * resumed without a new ticket, and two tickets that resume nothing are sent where there should be none.
 */
import { randomFillSync } from 'node:crypto';
import type { Server } from 'node:tls';

/**
 * `renew`: whoever resumes gets one new ticket, whoever makes a full handshake two, each a record of its own. `none`: no
 * tickets, and none that come are taken.
 */
type TicketAnswers = 'renew' | 'none';

/** Has the server answer so, with these keys; the function returned changes them. Undefined: Node cannot do it. */
export function answerTickets(
  server: Server,
  answers: TicketAnswers,
  first: Buffer,
): ((keys: Buffer) => void) | undefined {
  const { context } = (server as unknown as { _sharedCreds?: { context?: Context } })._sharedCreds ?? {};
  if (typeof context?.enableTicketKeyCallback !== 'function') return undefined;
  let keys = split(first);
  // Called in the midst of OpenSSL's work: it must not throw, and does not wait.
  context.onticketkeycallback = (name, iv, isNew) => {
    const { hmac, aes } = keys;
    if (answers === 'none') return [results.none, hmac, aes, name, iv];
    if (isNew) return [results.use, hmac, aes, keys.name, randomFillSync(iv)];
    return [name.equals(keys.name) ? results.renew : results.none, hmac, aes, name, iv];
  };
  context.enableTicketKeyCallback();
  return (next) => {
    keys = split(next);
  };
}

/** A ticket's part is 16 bytes; Node copies out of what is answered. */
type Context = {
  enableTicketKeyCallback?: () => void;
  onticketkeycallback?: (
    name: Buffer,
    iv: Buffer,
    isNew: boolean,
  ) => [result: number, hmac: Buffer, aes: Buffer, name: Buffer, iv: Buffer];
};

/** For a ticket that comes and for one that is made: SSL_CTX_set_tlsext_ticket_key_evp_cb(3). */
const results = { none: 0, use: 1, renew: 2 } as const;

/** The 48 bytes of Node's `ticketKeys`. */
function split(keys: Buffer) {
  return { name: keys.subarray(0, 16), hmac: keys.subarray(16, 32), aes: keys.subarray(32, 48) };
}
