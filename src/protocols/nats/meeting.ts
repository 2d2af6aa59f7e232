/**
 * NATS clients. We greet them in the server's place, because we dial no server for a
 * client that we know nothing about.
 */
import type { Peek } from '../../peek/peek.ts';
import { contentTypes } from '../../peek/records.ts';
import { clientFault, onlyFor } from '../faults.ts';
import type { Meeting, Opening, Refusal, Sides, Terms } from '../protocol.ts';
import { reasonFor } from '../refusals.ts';
import { ask } from './ask.ts';
import { encodeInfo, infoFor } from './info.ts';

/**
 * How long a client may take to start with TLS before it is greeted in plain text: the same as nats-server
 * with `handshake_first: auto`. Clients that wait for a greeting wait this long.
 */
const tlsFirstMs = 50;

export function meet({ takesPlain }: Terms): Meeting {
  let greeted = false;
  return {
    async accept(client) {
      const clock = startClock(() => {
        greeted = true;
        client.write(takesPlain ? greetings.available : greetings.required);
      });
      try {
        return await client.read(readFirst);
      } finally {
        clock.stop();
      }
    },
    // A server that expects its clients to start with TLS says nothing before that.
    announce: async (server: Peek) => (greeted ? ask(server) : undefined),
    join({ client, greeting, isSecure }: Sides) {
      if (!greeted && greeting) client.write(infoFor(greeting, isSecure));
    },
    refuse: (why) => lastWords(why, greeted),
  };
}

/**
 * After the event loop was blocked, the timer is due at the same time as a ClientHello that
 * came in time. Read that first.
 */
function startClock(due: () => void): { stop: () => void } {
  let lastLook: NodeJS.Immediate | undefined;
  const timer = setTimeout(() => {
    lastLook = setImmediate(due);
  }, tlsFirstMs);
  return {
    stop() {
      clearTimeout(timer);
      clearImmediate(lastLook);
    },
  };
}

/**
 * Fits every server behind us, and makes clients send all they have: some omit their password unless
 * `auth_required` is set. It has no nonce, which would have to be the server's, so clients cannot sign.
 */
const greeting = {
  server_id: 'PENSTOCK',
  server_name: 'penstock',
  version: '2.9.10',
  proto: 1,
  host: '0.0.0.0',
  port: 4222,
  headers: true,
  jetstream: true,
  auth_required: true,
  max_payload: 1_048_576,
};
const greetings = {
  required: encodeInfo({ ...greeting, tls_required: true }),
  available: encodeInfo({ ...greeting, tls_available: true }),
};

/** A client that wants TLS starts with its ClientHello. Any other client is plain, whatever follows. */
export function readFirst(bytes: Buffer): Opening | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes[0] === contentTypes.handshake) return { kind: 'tls' };
  const text = bytes.toString('latin1', 0, longest).toUpperCase();
  if (operations.some((one) => text.startsWith(one))) return { kind: 'plain' };
  if (operations.some((one) => one.startsWith(text))) return undefined;
  throw invalid('does not speak NATS');
}

const invalid = clientFault(onlyFor('nats'));

/** How a client can start: with CONNECT, though some first ask whether anybody is there. */
const operations = ['CONNECT ', 'CONNECT\t', 'PING\r\n'];
const longest = 8;

/**
 * In nats-server's own words where it has any. A client that starts with TLS and was not greeted
 * understands an alert, or a close.
 */
function lastWords(why: Refusal, greeted: boolean): Buffer | undefined {
  switch (reasonFor(why)) {
    case 'needs_tls':
      return error('Secure Connection - TLS Required');
    case 'misspoken':
      return error('Unknown Protocol Operation');
    case 'full':
      return greeted ? error('maximum connections exceeded') : undefined;
    case 'unreachable':
      return greeted
        ? error(`the server behind this proxy cannot be reached (connection ${why.conn})`)
        : undefined;
  }
  return undefined;
}

function error(text: string): Buffer {
  return Buffer.from(`-ERR '${text}'\r\n`);
}
