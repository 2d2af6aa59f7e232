/** One connection while it is served: what its steps know and share. */
import type { Socket } from 'node:net';
import type { Decision, Facts } from '../decide/decide.ts';
import type { ProxyError } from '../errors.ts';
import type { LightAbortSignal } from '../net/abort-signal.ts';
import { type Address, normalizeAddress } from '../net/address.ts';
import type { Alarmed } from '../net/alarms.ts';
import type { Member } from '../net/live-set.ts';
import { abort, type Stream } from '../net/stream.ts';
import type { AccessRecord } from '../observe/access-log.ts';
import type { Meeting, Opening } from '../protocols/protocol.ts';
import type { Splice, SpliceEnd } from '../splice/splice.ts';
import type { ClientCert } from '../tls/client-auth/client-auth.ts';
import type { LastAlert } from '../tls/server/last-alert.ts';
import type { Listener, Route } from './listener.ts';

/** In the list of open connections, and with an alarm. */
type Listed = Member & Alarmed;

export type Connection = Listed & {
  readonly raw: Socket;
  readonly listener: Listener;
  readonly record: AccessRecord;
  /** What the client turned out to be. */
  opening: Opening['kind'] | undefined;
  /** The ALPN protocols that the client offered. */
  offered: readonly string[];
  /** What the rules decided, once they let it in. */
  decision: Decision<Route> | undefined;
  clientCert: ClientCert | undefined;
  /** The terminated stream, once there is one: a refused client gets its last words through it. */
  stream: Stream | undefined;
  /** Sends a refusal as a TLS alert, until the client's certificate has been judged. */
  lastAlert: LastAlert | undefined;
  /** The client's part in the listener's protocol, if there is one, until the connection is established. */
  meeting: Meeting | undefined;
  /** Length of its PROXY header. */
  headerBytes: number;
  /** Aborts when the client leaves before its connection is established. */
  gone: LightAbortSignal | undefined;
  splice: Splice | undefined;
  /** Why the upstream refused the login, if that is known: then it is why the connection ended. */
  loginFault: Omit<SpliceEnd, 'side'> | undefined;
  /** The deadline it missed. Outranks any error that closing the socket caused. */
  missed: ProxyError | undefined;
  /** The deadline that its alarm is set for. */
  deadline: Deadline | undefined;
  /** Whether it has ended; it gives back what it holds once its socket has closed. */
  isOver: boolean;
  /** Whether its descriptors are counted. */
  isCounted: boolean;
  /** Its place at an endpoint. */
  dialled: { release(): void } | undefined;
  /** What else to undo when it ends: its counts in limits. */
  readonly undo: (() => void)[];
};

/** How long a client may take from accept on, and which time-out says so. */
export type Deadline = {
  readonly ms: number;
  readonly option: 'client_hello' | 'handshake';
};

/** Identifies a connection in logs and PROXY headers, across processes and restarts. */
const instance = Math.floor(Math.random() * 36 ** 6)
  .toString(36)
  .padStart(6, '0');
let count = 0;

/** `onAlarm` ends it when its deadline is missed. */
export function createConnection(
  raw: Socket,
  listener: Listener,
  onAlarm: Connection['onAlarm'],
): Connection {
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
    gone: undefined,
    splice: undefined,
    loginFault: undefined,
    missed: undefined,
    deadline: undefined,
    isOver: false,
    isCounted: false,
    dialled: undefined,
    undo: [],
    place: 0,
    alarmAt: Number.POSITIVE_INFINITY,
    alarmPlace: 0,
    onAlarm,
  };
}

const none: readonly string[] = [];

/** What is known about a connection at its start. */
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
    isWarm: undefined,
    code: undefined,
    error: undefined,
    hint: undefined,
    isProbe: false,
  };
}

export function resetClient({ stream, raw }: Connection): void {
  abort(stream ?? { raw });
}

/** What `decide` needs to know about its client, both now and after a reload. */
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

/** Where the client reached us, while its socket is open. A system call, so only PROXY headers ask for it. */
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
