/** The access log: what is known about a connection, and the one line it gets. */
import type { Logger } from 'pino';
import type { ConnectionCode, Phase, Side } from '../errors.ts';
import { type Address, formatAddress } from '../net/address.ts';
import { writeLine } from './log.ts';

/** The TLS version and cipher that were negotiated, by OpenSSL's names. */
export type TlsInfo = {
  readonly version: string;
  readonly cipher: string;
  readonly resumed: boolean;
  /** The protocol agreed on with an upstream; for a client, AccessRecord has a field of its own. */
  readonly alpn?: string | undefined;
};

/**
 * What the log says about a client's certificate. Has subject and SANs only if an authority vouches for them.
 */
type ClientCertInfo = {
  readonly subject?: string | undefined;
  readonly sans?: readonly string[] | undefined;
  readonly fingerprint: string;
  readonly spki?: string | undefined;
};

/** Everything that the access log says about a connection, filled in as it proceeds. Bytes are payload. */
export type AccessRecord = {
  readonly conn: string;
  readonly listener: string;
  readonly startedAt: number;
  route: string | number | undefined;
  client: Address;
  /** The TCP peer, if a PROXY header named another client. */
  peer: Address | undefined;
  /** The address the client connected to, from the same header. */
  destination: Address | undefined;
  sni: string | undefined;
  alpn: string | undefined;
  ja4: string | undefined;
  tls: TlsInfo | undefined;
  clientCert: ClientCertInfo | undefined;
  upstream: string | undefined;
  endpoint: string | undefined;
  upstreamTls: TlsInfo | undefined;
  readonly bytes: { in: number; out: number };
  handshakeMs: number | undefined;
  /** Time in the upstream's queue; undefined if it was not queued. */
  queueMs: number | undefined;
  connectMs: number | undefined;
  /** Whether the upstream connection was ready before the client came. */
  isWarm: boolean | undefined;
  phase: Phase;
  side: Side;
  code: ConnectionCode | undefined;
  error: string | undefined;
  hint: string | undefined;
  /** The client connected and left without sending anything. */
  isProbe: boolean;
};

/** Writes the line of a closed connection; for a probe, only at level debug. */
export function logClosed(logger: Logger, record: AccessRecord): void {
  const level = record.code === 'ERR_INTERNAL' ? 'error' : record.phase === 'connect' ? 'warn' : 'info';
  writeLine(logger, record.isProbe ? 'debug' : level, lineOf(record), 'connection');
}

/** The fields of a closed connection's line: log-fields.ts describes each. */
export type ConnectionLine = ReturnType<typeof lineOf>;

function lineOf(record: AccessRecord) {
  return {
    ...identityOf(record),
    upstream_tls: record.upstreamTls,
    bytes_in: record.bytes.in,
    bytes_out: record.bytes.out,
    duration_ms: milliseconds(performance.now() - record.startedAt),
    handshake_ms: record.handshakeMs,
    queue_ms: record.queueMs,
    connect_ms: record.connectMs,
    warm: record.isWarm,
    phase: record.phase,
    side: record.side,
    outcome: record.isProbe ? 'probe' : undefined,
    code: record.code,
    error: record.error,
    hint: record.hint,
  };
}

/** Writes the line of a newly established connection (`log.access_open`). */
export function logOpened(logger: Logger, record: AccessRecord): void {
  writeLine(logger, 'info', { ...identityOf(record), upstream_tls: record.upstreamTls }, 'connection open');
}

/** Rounds to a tenth of a millisecond: enough to compare, short to read. */
export function milliseconds(ms: number): number {
  return Math.round(ms * 10) / 10;
}

/** Who is connected to what, as fields of the log. */
export function identityOf(record: AccessRecord) {
  return {
    conn: record.conn,
    listener: record.listener,
    route: record.route,
    client: formatAddress(record.client),
    peer: record.peer && formatAddress(record.peer),
    destination: record.destination && formatAddress(record.destination),
    sni: record.sni,
    alpn: record.alpn,
    ja4: record.ja4,
    tls: record.tls,
    client_cert: record.clientCert && describeCert(record.clientCert),
    upstream: record.upstream,
    endpoint: record.endpoint,
  };
}

function describeCert({ subject, sans, fingerprint, spki }: ClientCertInfo): ClientCertInfo {
  return { subject, sans, fingerprint, spki };
}
