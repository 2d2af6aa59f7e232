/**
 * PostgreSQL's CancelRequest: a connection of its own, which names the session to cancel by a key that only the server
 * knows. It is forwarded to the endpoints where this client has sessions, and to no others.
 */

import { ProxyError } from '../errors.ts';
import { createTokenBuckets } from '../listen/address-limits.ts';
import { Cancellation } from '../net/abort-signal.ts';
import type { Address } from '../net/address.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import { atEndpoint, type Caller, dialFor, type Outbound } from './outbound.ts';
import type { Connection } from './state.ts';

/** The established sessions of a listener, by client address. Its size is that of the open connections. */
export type CancelRegistry = {
  /** Notes a session; the function returned forgets it. */
  readonly add: (session: Omit<Session, 'count'>, client: string) => () => void;
  readonly find: (client: string) => readonly Session[];
  /** Whether this client may send another request now. */
  readonly mayCancel: (client: string) => boolean;
  /** Has the other processes forward it; resolves with the number of sessions found there. */
  readonly elsewhere: (conn: string, client: Address, message: Buffer) => Promise<number>;
};

type Session = {
  readonly outbound: Outbound;
  readonly endpoint: Endpoint;
  /** The name that the session was opened with: its CancelRequest, being plain, has none. */
  readonly sni: string | undefined;
  count: number;
};

/** Requests a second from one address: a person's Ctrl-C and a pool's time-outs, but no way to multiply traffic. */
const cancelsPerSecond = 10;
/** How long a server may take to act on a request and close. */
const closeWithin = 5000;

export function createCancelRegistry(elsewhere: CancelRegistry['elsewhere']): CancelRegistry {
  const sessions = new Map<string, Map<Endpoint, Session>>();
  return {
    add(opened, client) {
      const ofClient = sessions.get(client) ?? new Map<Endpoint, Session>();
      sessions.set(client, ofClient);
      const session = ofClient.get(opened.endpoint) ?? { ...opened, count: 0 };
      ofClient.set(opened.endpoint, session);
      session.count += 1;
      return () => {
        session.count -= 1;
        if (session.count === 0) ofClient.delete(opened.endpoint);
        if (ofClient.size === 0) sessions.delete(client);
      };
    },
    find: (client) => [...(sessions.get(client)?.values() ?? [])],
    mayCancel: createTokenBuckets(cancelsPerSecond),
    elsewhere,
  };
}

/**
 * Sends the request wherever this client has a session, in other processes too, over TLS where the upstream has it, and
 * waits until the servers have closed: libpq takes our close for "done". Throws ERR_CANCEL_REFUSED for a client without a
 * session, or one that asks too often.
 */
export async function forwardCancel(connection: Connection, message: Buffer): Promise<void> {
  const { record, listener } = connection;
  const client = record.client.address;
  if (!listener.cancels.mayCancel(client)) {
    throw refusal(`more than ${cancelsPerSecond} CancelRequests a second from ${client}`);
  }
  record.phase = 'connect';
  const [here, elsewhere] = await Promise.all([
    deliverAll(connection, message),
    listener.cancels.elsewhere(record.conn, record.client, message),
  ]);
  if (here + elsewhere === 0) {
    record.phase = 'starttls';
    throw refusal(`a CancelRequest from ${client}, which has no session here`);
  }
}

/**
 * Sends it to the sessions that the client has in this process. Resolves with their number, once the servers have closed;
 * rejects if none of them could be reached.
 */
export async function deliverAll(caller: Caller, message: Buffer): Promise<number> {
  const { record, listener } = caller;
  const sessions = listener.cancels.find(record.client.address);
  if (sessions.length === 0) return 0;
  const bytes = Buffer.from(message);
  const outcomes = await Promise.allSettled(sessions.map((session) => deliver(caller, session, bytes)));
  listener.logger.info(
    { conn: record.conn, client: record.client.address, endpoints: sessions.map((it) => it.endpoint.label) },
    'cancel request forwarded',
  );
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed && outcomes.every((outcome) => outcome.status === 'rejected')) throw failed.reason;
  return sessions.length;
}

async function deliver(caller: Caller, session: Session, message: Buffer): Promise<void> {
  const { descriptors } = caller.listener;
  if (!descriptors.take(1)) {
    throw new ProxyError('ERR_DESCRIPTORS_EXHAUSTED', {
      side: 'proxy',
      message: `the limit of open files leaves no room to cancel at ${session.endpoint.label}`,
      hint: 'raise the limit of open files (LimitNOFILE, ulimit -n)',
    });
  }
  try {
    await send(caller, session, message);
  } finally {
    descriptors.give(1);
  }
}

async function send(caller: Caller, session: Session, message: Buffer): Promise<void> {
  const { prepared, release } = await dialFor(caller, atEndpoint(session.outbound, session.endpoint), {
    sni: session.sni,
    passthrough: false,
    wildcardLabel: undefined,
    // Whoever asked may have gone by now, and wants it cancelled all the same.
    signal: new Cancellation(),
  });
  const { stream } = prepared.stream;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => stream.destroy(), closeWithin);
    stream.on('error', () => stream.destroy());
    stream.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    // The server closes when it has it. To one that is still about to act on it, as PgBouncer is, a FIN of ours would say that
    // nobody wants it any more.
    stream.once('end', () => stream.end());
    stream.write(message);
    stream.resume();
  });
  release();
}

function refusal(message: string): ProxyError {
  return new ProxyError('ERR_CANCEL_REFUSED', { side: 'client', message });
}
