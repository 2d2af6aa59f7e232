/** One connection while it is served: what its steps know and share. */
import type { Socket } from 'node:net';
import type { Decision, Facts } from '../decide/decide.ts';
import { type ConnectionCode, type Phase, ProxyError } from '../errors.ts';
import { type Address, normalizeAddress } from '../net/address.ts';
import type { Member } from '../net/live-set.ts';
import { abort, type Stream } from '../net/stream.ts';
import type { AccessRecord } from '../observe/access-log.ts';
import type { ClientHello } from '../peek/client-hello.ts';
import type { Meeting } from '../protocols/protocol.ts';
import type { Splice } from '../splice/splice.ts';
import type { ClientCert } from '../tls/client-auth/client-auth.ts';
import type { LastAlert } from '../tls/server/last-alert.ts';
import type { Listener, Route } from './listener.ts';

export type Connection = Member & {
  readonly raw: Socket;
  readonly listener: Listener;
  readonly record: AccessRecord;
  hello: ClientHello | undefined;
  /** The protocols that the client offered. */
  offered: readonly string[];
  /** What the rules said, once it was let in. */
  decision: Decision<Route> | undefined;
  clientCert: ClientCert | undefined;
  /** The terminated stream, once there is one: what a refused client is told goes through it. */
  stream: Stream | undefined;
  /** What tells it by TLS, until its certificate has been judged. */
  lastAlert: LastAlert | undefined;
  /** The client in the listener's protocol, if that has one, until it is established. */
  meeting: Meeting | undefined;
  /** The client does without TLS, and understands its protocol's own refusals. */
  speaksPlainly: boolean;
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
    hello: undefined,
    offered: none,
    decision: undefined,
    clientCert: undefined,
    stream: undefined,
    lastAlert: undefined,
    meeting: listener.rules.protocol?.meet(listener.rules),
    speaksPlainly: false,
    headerBytes: 0,
    splice: undefined,
    missed: undefined,
    timer: undefined,
    undo: [],
    place: 0,
  };
}

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

const timeoutCodes: Partial<Record<Phase, ConnectionCode>> = {
  proxy_header: 'ERR_PROXY_HEADER_TIMEOUT',
  starttls: 'ERR_STARTTLS_TIMEOUT',
  peek: 'ERR_CLIENT_HELLO_TIMEOUT',
};

/**
 * Ends the connection when `ms` have passed since accept, with the code of the phase it is in by then. A later call
 * replaces an earlier one. `option` is the time-out's name, for the hint.
 */
export function setDeadline(connection: Connection, ms: number, option: 'client_hello' | 'handshake'): void {
  clearTimeout(connection.timer);
  connection.timer = undefined;
  if (ms === Number.POSITIVE_INFINITY) {
    // Nothing else would notice a client that has vanished; once it is established, the splice sees to that.
    const { keepalive } = connection.listener.config.timeouts;
    if (keepalive !== Number.POSITIVE_INFINITY) connection.raw.setKeepAlive(true, keepalive);
    return;
  }
  const now = performance.now();
  const due = Math.max(now, connection.record.startedAt + ms);
  connection.timer = setTimeout(miss, Math.max(1, due - now), connection, due, ms, option);
}

/**
 * Whether the client did no more than connect and leave, by an end or a reset, as load balancers and monitors do to see whether
 * somebody listens. A PROXY header is their word, not the client's. Asked once the connection has ended.
 */
export function isProbe({ raw, record, headerBytes }: Connection): boolean {
  const { code, side, bytes } = record;
  if (raw.bytesRead > headerBytes || bytes.out > 0 || side !== 'client') return false;
  return code === undefined || code === 'ERR_CLIENT_CLOSED' || code === 'ERR_CLIENT_RESET';
}

export function clearDeadline(connection: Connection): void {
  clearTimeout(connection.timer);
  connection.timer = undefined;
}

function miss(connection: Connection, due: number, ms: number, option: string): void {
  const lateBy = performance.now() - due;
  if (lateBy > stoodStillMs) {
    // This process stood still, and what the client sent meanwhile is unread: it gets that time back.
    connection.timer = setTimeout(miss, lateBy, connection, performance.now() + lateBy, ms, option);
    return;
  }
  const { record, listener } = connection;
  connection.missed =
    record.phase === 'admit'
      ? notAdmitted(ms, listener.name)
      : new ProxyError(timeoutCodes[record.phase] ?? 'ERR_TLS_HANDSHAKE_TIMEOUT', {
          side: 'client',
          message: `the client was not done within ${ms} ms of connecting`,
          hint: `a slow or silent client; see listeners.${listener.name}.timeouts.${option}`,
        });
  abort(connection.stream ?? { raw: connection.raw });
}

/** Only the other processes are waited for by then. */
function notAdmitted(ms: number, listener: string): ProxyError {
  return new ProxyError('ERR_ADMISSION_TIMEOUT', {
    side: 'proxy',
    message: `whether there is room for the client was not known within ${ms} ms of connecting`,
    hint: `penstock's processes answer each other late: see what else the machine does, or raise listeners.${listener}.timeouts.client_hello`,
  });
}

/** A timer is this late only where the event loop had no turn. */
const stoodStillMs = 50;
const none: readonly string[] = [];
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
