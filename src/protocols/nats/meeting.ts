/** NATS's clients: greeted in the server's place, since no server is dialled for a client that nobody knows. */
import { ProxyError } from '../../errors.ts';
import type { Peek } from '../../peek/peek.ts';
import type { Meeting, Opening, Refusal, Sides, Terms } from '../protocol.ts';
import { ask } from './ask.ts';
import { encodeInfo, infoFor } from './info.ts';

/**
 * How long a client has to begin with TLS before it is greeted in plain text: what nats-server allows by `handshake_first: auto`. Whoever
 * waits for the greeting waits so long.
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
    // A server for clients that begin with TLS waits for that in silence.
    announce: async (server: Peek) => (greeted ? ask(server) : undefined),
    join({ client, greeting, isSecure }: Sides) {
      if (!greeted && greeting) client.write(infoFor(greeting, isSecure));
    },
    refuse: (why) => lastWords(why, greeted),
  };
}

/** A loop that stood still finds the timer due together with a ClientHello that came in time: that is read first. */
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
 * What suits every server behind us, and makes clients send what they have: some leave out their password unless `auth_required` is set.
 * Without a nonce, which would have to be the server's, they cannot sign.
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

/** A client that wants TLS begins with its ClientHello: any other is plain, whatever follows. */
export function readFirst(bytes: Buffer): Opening | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes[0] === 0x16) return { kind: 'tls' };
  const text = bytes.toString('latin1', 0, longest).toUpperCase();
  if (operations.some((one) => text.startsWith(one))) return { kind: 'plain' };
  if (operations.some((one) => one.startsWith(text))) return undefined;
  throw new ProxyError('ERR_STARTTLS_INVALID', {
    side: 'client',
    message: 'the client does not speak NATS',
    hint: 'the listener has starttls: nats; other clients need a listener of their own',
  });
}

/** With what a client can begin: it says CONNECT, and some ask first whether anybody is there. */
const operations = ['CONNECT ', 'CONNECT\t', 'PING\r\n'];
const longest = 8;

/** In nats-server's words where it has some. One that begins with TLS and was not greeted understands an alert, or a close. */
function lastWords({ code, phase, conn }: Refusal, greeted: boolean): Buffer | undefined {
  if (code === 'ERR_STARTTLS_REQUIRED' || code === 'ERR_NO_ROUTE')
    return error('Secure Connection - TLS Required');
  if (phase === 'starttls') return error('Unknown Protocol Operation');
  if (phase !== 'connect' || !greeted) return undefined;
  const isFull = /^ERR_UPSTREAM_(LIMIT|QUEUE)/.test(code);
  return error(
    isFull
      ? 'maximum connections exceeded'
      : `the server behind this proxy cannot be reached (connection ${conn})`,
  );
}

function error(text: string): Buffer {
  return Buffer.from(`-ERR '${text}'\r\n`);
}
