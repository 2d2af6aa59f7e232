/** One connection while it is served: what its steps know and share. */
import type { Socket } from 'node:net';
import type { Decision, Facts } from '../decide/decide.ts';
import type { ProxyError } from '../errors.ts';
import { type Address, normalizeAddress } from '../net/address.ts';
import type { Member } from '../net/live-set.ts';
import { abort, type Stream } from '../net/stream.ts';
import type { AccessRecord } from '../observe/access-log.ts';
import type { Meeting, Opening } from '../protocols/protocol.ts';
import type { Splice } from '../splice/splice.ts';
import type { ClientCert } from '../tls/client-auth/client-auth.ts';
import type { LastAlert } from '../tls/server/last-alert.ts';
import type { Listener, Route } from './listener.ts';

export type Connection = Member & {
  readonly raw: Socket;
  readonly listener: Listener;
  readonly record: AccessRecord;
  /** What the client turned out to be. */
  opening: Opening['kind'] | undefined;
  /** The protocols that the client offered. */
  offered: readonly string[];
  /** What the rules said, once it was let in. */
  decision: Decision<Route> | undefined;
  clientCert: ClientCert | undefined;
  /** The terminated stream, once there is one: the last words to a refused client go through it. */
  stream: Stream | undefined;
  /** What tells it by TLS, until its certificate has been judged. */
  lastAlert: LastAlert | undefined;
  /** The client in the listener's protocol, if that has one, until it is established. */
  meeting: Meeting | undefined;
  /** How long its PROXY header was. */
  headerBytes: number;
  splice: Splice | undefined;
  /** The deadline that was missed; it outranks whatever error the closing of the socket brought up. */
  missed: ProxyError | undefined;
  timer: NodeJS.Timeout | undefined;
  /** To be undone when it ends: counts in limits. */
  readonly undo: (() => void)[];
};

/** Identifies a connection in logs and PROXY headers, across processes and restarts. */
const instance = Math.floor(Math.random() * 36 ** 6)
  .toString(36)
  .padStart(6, '0');
let count = 0;

export function createConnection(raw: Socket, listener: Listener): Connection {
  const client = peerOf(raw);
  count += 1;
  return {
    raw,
    listener,
    record: createRecord(listener.name, `${instance}-${count.toString(36)}`, client),
    opening: undefined,
    offered: none,
    decision: undefined,
    clientCert: undefined,
    stream: undefined,
    lastAlert: undefined,
    meeting: listener.rules.protocol?.meet(listener.rules),
    headerBytes: 0,
    splice: undefined,
    missed: undefined,
    timer: undefined,
    undo: [],
    place: 0,
  };
}

const none: readonly string[] = [];

/** What is known of a connection when it begins. */
export function createRecord(listener: string, conn: string, client: Address): AccessRecord {
  return {
    conn,
    listener,
    startedAt: performance.now(),
    client,
    bytes: { in: 0, out: 0 },
    phase: 'admit',
    side: 'proxy',
    route: undefined,
    peer: undefined,
    destination: undefined,
    sni: undefined,
    alpn: undefined,
    ja4: undefined,
    tls: undefined,
    clientCert: undefined,
    upstream: undefined,
    endpoint: undefined,
    upstreamTls: undefined,
    handshakeMs: undefined,
    queueMs: undefined,
    connectMs: undefined,
    code: undefined,
    error: undefined,
    hint: undefined,
    isProbe: false,
  };
}

/** Resets the client's side. */
export function resetClient({ stream, raw }: Connection): void {
  abort(stream ?? { raw });
}

/** What is known of its client for `decide`, now and when the rules have changed. */
export function factsOf({ record, offered }: Connection): Facts {
  const { client, peer, sni, ja4 = '' } = record;
  return {
    peer: (peer ?? client).address,
    client: client.address,
    plain: record.ja4 === undefined,
    sni,
    alpn: offered,
    ja4,
  };
}

const unixAddress: Address = { address: 'unix', port: 0 };

/** Where the client reached us, while its socket is open. A system call, of use only to those who send a PROXY header. */
export function localAddressOf({
  localAddress,
  localPort,
}: Pick<Socket, 'localAddress' | 'localPort'>): Address {
  return localAddress ? { address: normalizeAddress(localAddress), port: localPort ?? 0 } : unixAddress;
}

function peerOf(raw: Socket): Address {
  return raw.remoteAddress
    ? { address: normalizeAddress(raw.remoteAddress), port: raw.remotePort ?? 0 }
    : unixAddress;
}
