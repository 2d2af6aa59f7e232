/**
 * Forwards requests to cancel what another connection does, such as PostgreSQL's. Each arrives
 * on a connection of its own, and goes to every endpoint, in every process, where the client
 * has a session that it concerns.
 */
import type { Socket } from 'node:net';
import { ProxyError } from '../errors.ts';
import { createTokenBuckets } from '../listen/address-limits.ts';
import { LightAbortSignal } from '../net/abort-signal.ts';
import type { Address } from '../net/address.ts';
import { closeWith } from '../net/stream.ts';
import type { Alias, Protocol, Sessions } from '../protocols/protocol.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import { clearDeadline } from './deadline.ts';
import { atEndpoint, type Caller, dialFor, type Outbound } from './outbound.ts';
import type { Connection } from './state.ts';

/** What cancelling needs: the clients' established sessions, and how often a client may ask. */
export type Cancels = {
  readonly sessions: Sessions<SessionPlace>;
  /** Whether this client may send another request now. */
  readonly mayCancel: (client: string) => boolean;
  /** The same, for questions that a client does not know it is asking. */
  readonly mayLookAround: (client: string) => boolean;
  /** Has the other processes do `deliverAll`; resolves with the sessions found there. */
  readonly elsewhere: (conn: string, client: Address, message: Buffer) => Promise<readonly FoundSession[]>;
};

/** A session, as other processes know it. */
export type FoundSession = {
  readonly upstream: string;
  /** The endpoint's label. */
  readonly endpoint: string;
  /** What its server calls it, if sessions have names. */
  readonly number: number | undefined;
};

/** Where a session is. */
type SessionPlace = {
  readonly outbound: Outbound;
  readonly endpoint: Endpoint;
  /** The server name that the session was opened with. The request itself is plain, so it carries none. */
  readonly sni: string | undefined;
  readonly alias: Alias | undefined;
};

/** Per second and address: enough for Ctrl-C and a pool's time-outs, too few to multiply traffic. */
const cancelsPerSecond = 10;

/** Undefined for protocols in which nothing can be cancelled. */
export function createCancels(
  protocol: Protocol | undefined,
  elsewhere: Cancels['elsewhere'],
): Cancels | undefined {
  const sessions = protocol?.createSessions?.<SessionPlace>();
  if (sessions === undefined) return undefined;
  const [mayCancel, mayLookAround] = [
    createTokenBuckets(cancelsPerSecond),
    createTokenBuckets(cancelsPerSecond),
  ];
  return { sessions, elsewhere, mayCancel, mayLookAround };
}

/** Forwards the request, then closes the stream: that tells the client that the server has it. */
export async function serveCancel(
  connection: Connection,
  stream: Socket,
  message: Buffer,
): Promise<undefined> {
  clearDeadline(connection);
  await forwardCancel(connection, message);
  closeWith(stream, undefined);
}

/**
 * Sends the request to every session of this client, in other processes too, over TLS where the upstream
 * has it, and waits until the servers have it. Throws ERR_CANCEL_REFUSED for a client that has no
 * session, or that asks too often.
 */
async function forwardCancel(connection: Connection, message: Buffer): Promise<void> {
  const { record, listener } = connection;
  const { cancels } = listener;
  const client = record.client.address;
  if (!cancels?.mayCancel(client)) {
    throw refusal(`more than ${cancelsPerSecond} CancelRequests a second from ${client}`);
  }
  record.phase = 'connect';
  const [here, elsewhere] = await Promise.all([
    deliverAll(connection, message),
    cancels.elsewhere(record.conn, record.client, message),
  ]);
  if (here.length + elsewhere.length === 0) {
    record.phase = 'starttls';
    throw refusal(`a CancelRequest from ${client}, which has no session here`);
  }
}

/**
 * Sends it to the sessions that the client has in this process, if its protocol has connections of their own
 * for that. Resolves with the sessions once the servers have it; rejects if it reached none of them.
 */
export async function deliverAll(caller: Caller, message: Buffer): Promise<readonly FoundSession[]> {
  const { record, listener } = caller;
  const { sessions } = listener.cancels ?? {};
  const places = sessions?.concerned(record.client.address, message) ?? [];
  const found = places.map(({ outbound, endpoint, alias }) => ({
    upstream: outbound.upstream.name,
    endpoint: endpoint.label,
    number: alias?.number,
  }));
  const deliver = sessions?.deliver;
  if (deliver === undefined || places.length === 0) return found;
  const bytes = Buffer.from(message);
  const deliverTo = (server: Socket) => deliver(server, bytes);
  const outcomes = await Promise.allSettled(places.map((place) => reach(caller, place, deliverTo)));
  listener.logger.info(
    { conn: record.conn, client: record.client.address, endpoints: places.map((it) => it.endpoint.label) },
    'cancel request forwarded',
  );
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed && outcomes.every((outcome) => outcome.status === 'rejected')) throw failed.reason;
  return found;
}

type Deliver = (server: Socket) => Promise<void>;

async function reach(caller: Caller, place: SessionPlace, deliver: Deliver): Promise<void> {
  const { descriptors } = caller.listener;
  if (!descriptors.take(1)) {
    throw new ProxyError('ERR_DESCRIPTORS_EXHAUSTED', {
      side: 'proxy',
      message: `the limit of open files leaves no room to forward a CancelRequest to ${place.endpoint.label}`,
      hint: 'raise the limit of open files (LimitNOFILE, ulimit -n)',
    });
  }
  try {
    await send(caller, place, deliver);
  } finally {
    descriptors.give(1);
  }
}

async function send(
  caller: Caller,
  { outbound, endpoint, sni }: SessionPlace,
  deliver: Deliver,
): Promise<void> {
  const dialled = await dialFor(caller, atEndpoint(outbound, endpoint), {
    sni,
    passthrough: false,
    wildcardLabel: undefined,
    // The client may have left by now. It still wants its query cancelled.
    signal: new LightAbortSignal(),
  });
  await deliver(dialled.prepared.stream.stream);
  dialled.release();
}

function refusal(message: string): ProxyError {
  return new ProxyError('ERR_CANCEL_REFUSED', { side: 'client', message });
}
