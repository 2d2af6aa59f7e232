/** Open connections as an operator sees them, and which of them a query asks for. */
import { blockList, formatAddress, inBlockList } from '../net/address.ts';
import type { Work } from '../process/pacer.ts';
import { type AccessRecord, identityOf } from './access-log.ts';

/** All that is named must hold. `limit` is how many to list; all are counted. */
export type SessionQuery = {
  readonly listener?: string | undefined;
  /** Its name, or its place in the listener's list, as the log has it. */
  readonly route?: string | undefined;
  /** An address, a CIDR, or an address with its port. */
  readonly client?: string | undefined;
  readonly sni?: string | undefined;
  readonly upstream?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly limit: number;
};

/** The filters of a query, by the names that the command line and the admin endpoint give them. */
export const sessionFilters = ['listener', 'route', 'client', 'sni', 'upstream', 'endpoint'] as const;

/** The fields are those of the access log, as far as they are known yet. */
export type Session = ReturnType<typeof identityOf> & {
  /** The process that serves it. */
  readonly pid: number;
  readonly phase: AccessRecord['phase'];
  /** ISO 8601. */
  readonly started_at: string;
  readonly bytes_in: number;
  readonly bytes_out: number;
  readonly upstream_tls: AccessRecord['upstreamTls'];
};

/** `total` may be more than there are `sessions`. */
export type SessionsFound = { readonly total: number; readonly sessions: readonly Session[] };

/** The connections of this process that a query asks for. */
export function* findSessions(records: Iterable<AccessRecord>, query: SessionQuery): Work<SessionsFound> {
  const isClient = clientTest(query.client);
  const sessions: Session[] = [];
  let total = 0;
  for (const record of records) {
    if (matches(record, query) && isClient(record)) {
      total += 1;
      if (sessions.length < query.limit) sessions.push(describe(record));
    }
    yield;
  }
  return { total, sessions };
}

/** Adds up what several processes found; the longest-lived connections come first. */
export function gatherSessions(found: readonly SessionsFound[], { limit }: SessionQuery): SessionsFound {
  return {
    total: found.reduce((sum, { total }) => sum + total, 0),
    sessions: found
      .flatMap(({ sessions }) => sessions)
      .sort((a, b) => (a.started_at < b.started_at ? -1 : 1))
      .slice(0, limit),
  };
}

/** Whether a text can be the `client` of a query. */
export function isClientFilter(text: string): boolean {
  return networkOf(text) !== undefined || /^(?:unix|\[[0-9a-f:.]+\]:\d{1,5}|[0-9.]+:\d{1,5})$/i.test(text);
}

function matches(record: AccessRecord, { listener, route, sni, upstream, endpoint }: SessionQuery): boolean {
  return (
    (listener === undefined || record.listener === listener) &&
    (route === undefined || String(record.route) === route) &&
    (sni === undefined || record.sni === sni) &&
    (upstream === undefined || record.upstream === upstream) &&
    (endpoint === undefined || record.endpoint === endpoint)
  );
}

function clientTest(client: string | undefined): (record: AccessRecord) => boolean {
  if (client === undefined) return () => true;
  const network = networkOf(client);
  if (network) return (record) => inBlockList(network, record.client.address);
  return (record) => formatAddress(record.client) === client;
}

function networkOf(text: string) {
  try {
    return blockList([text]);
  } catch {
    return undefined;
  }
}

function describe(record: AccessRecord): Session {
  const ageMs = performance.now() - record.startedAt;
  return {
    ...identityOf(record),
    upstream_tls: record.upstreamTls,
    pid: process.pid,
    phase: record.phase,
    started_at: new Date(Date.now() - ageMs).toISOString(),
    bytes_in: record.bytes.in,
    bytes_out: record.bytes.out,
  };
}
