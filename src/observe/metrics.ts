/**
 * What one worker counts: plain numbers in maps, touched twice per connection. The supervisor adds them up
 * and writes them in Prometheus' text format (hub.ts). Every key is a configured name or an error code, never
 * something a client can choose.
 */
import type { ConnectionCode, Side } from '../errors.ts';
import type { Address } from '../net/address.ts';
import { orElse } from '../process/or-else.ts';
import type { AccessRecord } from './access-log.ts';

/** Upper bounds in seconds. One more bucket takes everything above the last. */
export const bucketBounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/**
 * `counts[i]`: observations above the previous bound, up to and including
 * `bucketBounds[i]`. `sum` is in seconds.
 */
export type Histogram = { readonly counts: number[]; sum: number };

/**
 * How a connection ended. `ok`: without a code. `probe`: the client connected and left without sending
 * anything, which is no failure. `refused`: a rule or a limit turned the client away. `error`: with any
 * other code, whoever's fault it was.
 */
export const outcomes = ['ok', 'error', 'refused', 'probe'] as const;
export type Outcome = (typeof outcomes)[number];

export type ListenerCounts = {
  opened: number;
  closed: number;
  bytesIn: number;
  bytesOut: number;
  /** By the route's name or index; '' for connections that ended before they had a route. */
  readonly outcomes: Map<string | number, Record<Outcome, number>>;
  /** By route, as `outcomes`. */
  readonly traffic: Map<string | number, Traffic>;
  readonly errors: Record<Side, Map<ConnectionCode, number>>;
  /** The last connection that ended so. */
  readonly latest: Record<Side, Map<ConnectionCode, LastEnding>>;
  readonly handshakes: { readonly full: Histogram; readonly resumed: Histogram };
};

/** `at` is in ms since 1970. For people: no label of a metric. */
export type LastEnding = {
  readonly at: number;
  readonly conn: string;
  readonly client: Address;
  readonly error: string;
};

/** As long as fits on a wide screen. */
const longestError = 300;

/** `active` are open now, the bytes those since the start. */
export type Traffic = { active: number; bytesIn: number; bytesOut: number };

/** What became of connections that were kept ready for clients (`warm`), and how many clients found none. */
export type WarmCounts = Record<WarmOutcome, number>;
/**
 * `taken`: given to a client. `missed`: a client found none ready. `closed`: the upstream closed it before a
 * client came. `expired`: it was too old.
 */
export const warmOutcomes = ['taken', 'missed', 'closed', 'expired'] as const;
type WarmOutcome = (typeof warmOutcomes)[number];

/** Counts since the start. */
export type Totals = {
  readonly listeners: Map<string, ListenerCounts>;
  /** Duration of successful dials, by upstream. */
  readonly connects: Map<string, Histogram>;
  /** Time that connections spent in an upstream's queue, however it ended, by upstream. */
  readonly queues: Map<string, Histogram>;
  /** By upstream. */
  readonly warm: Map<string, WarmCounts>;
};

/** The resources this process has used. */
export type ProcessUse = {
  /** Seconds since 1970. */
  readonly startedAt: number;
  readonly cpuSeconds: number;
  /** Time in which the event loop was busy. */
  readonly busySeconds: number;
  readonly residentBytes: number;
  readonly heapBytes: number;
  /** What keeps the event loop alive, by Node's names: `TCPSocketWrap`, `Timeout` and so on. */
  readonly activeResources: ReadonlyMap<string, number>;
};

/** A worker's counts at one moment. Sent by structured clone, because JSON has no maps. */
export type MetricsSnapshot = Totals & {
  readonly process: ProcessUse;
  /** File descriptors for connections. */
  readonly descriptors?: { readonly used: number; readonly capacity: number };
};

export type WorkerMetrics = {
  /** A client was accepted. */
  readonly opened: (listener: string) => void;
  /**
   * The client has left. Call it once per `opened`, when its record is final and
   * no longer among the live ones.
   */
  readonly closed: (record: AccessRecord) => void;
  /** The counts of an upstream's warm connections. The code that keeps them counts in this object. */
  readonly warmOf: (upstream: string) => WarmCounts;
  /**
   * Everything since the worker started: connections that have ended, and what has happened so far on live
   * ones. So bytes and handshakes increase while connections live, and nothing decreases when they end.
   */
  readonly snapshot: (live: Iterable<AccessRecord>) => MetricsSnapshot;
};

export function createWorkerMetrics(): WorkerMetrics {
  const totals = emptyTotals();
  return {
    opened(listener) {
      countsOf(totals, listener).opened += 1;
    },
    closed(record) {
      const counts = countsOf(totals, record.listener);
      counts.closed += 1;
      outcomesOf(counts, record.route ?? '')[outcomeOf(record)] += 1;
      if (record.code !== undefined && !record.isProbe) {
        const errors = counts.errors[record.side];
        errors.set(record.code, (errors.get(record.code) ?? 0) + 1);
        const { conn, client, error = '' } = record;
        const ending = { at: Date.now(), conn, client, error: error.slice(0, longestError) };
        counts.latest[record.side].set(record.code, ending);
      }
      measure(totals, record);
    },
    warmOf: (upstream) => warmOf(totals, upstream),
    snapshot(live) {
      const sum = structuredClone(totals);
      for (const record of live) {
        measure(sum, record);
        trafficOf(countsOf(sum, record.listener), record.route ?? '').active += 1;
      }
      return { ...sum, process: processUse() };
    },
  };
}

export function emptyTotals(): Totals {
  return { listeners: new Map(), connects: new Map(), queues: new Map(), warm: new Map() };
}

/** Adds the counts of `from` to `to`. */
export function addTotals(to: Totals, from: Totals): void {
  for (const [name, counts] of from.listeners) addCounts(countsOf(to, name), counts);
  for (const kind of ['connects', 'queues'] as const) {
    for (const [name, histogram] of from[kind]) addHistogram(histogramOf(to[kind], name), histogram);
  }
  for (const [name, counts] of from.warm) {
    const sum = warmOf(to, name);
    for (const outcome of warmOutcomes) sum[outcome] += counts[outcome];
  }
}

/** The counts of a listener; all zero if there were none. */
export function countsOf({ listeners }: Totals, name: string): ListenerCounts {
  let counts = listeners.get(name);
  if (counts === undefined) {
    counts = {
      opened: 0,
      closed: 0,
      bytesIn: 0,
      bytesOut: 0,
      outcomes: new Map(),
      traffic: new Map(),
      errors: { client: new Map(), upstream: new Map(), proxy: new Map() },
      latest: { client: new Map(), upstream: new Map(), proxy: new Map() },
      handshakes: { full: emptyHistogram(), resumed: emptyHistogram() },
    };
    listeners.set(name, counts);
  }
  return counts;
}

/** What this process has used so far. */
export function processUse(): ProcessUse {
  const { user, system } = process.cpuUsage();
  // It opens a file to find out, and throws if no descriptor is left.
  memory = orElse(memory, process.memoryUsage);
  return {
    startedAt: (Date.now() - process.uptime() * 1000) / 1000,
    cpuSeconds: (user + system) / 1e6,
    // Bun does not have it.
    busySeconds: (performance.eventLoopUtilization?.().active ?? 0) / 1000,
    residentBytes: memory.rss,
    heapBytes: memory.heapUsed,
    activeResources: activeResources(),
  };
}

/** The last values read. */
let memory = { rss: 0, heapUsed: 0 };

/**
 * Counting takes half a microsecond per resource: too slow for every snapshot with thousands of connections.
 */
const recountMs = 10_000;
let counted: { readonly at: number; readonly resources: ReadonlyMap<string, number> } | undefined;

function activeResources(): ReadonlyMap<string, number> {
  const now = performance.now();
  if (counted !== undefined && now - counted.at < recountMs) return counted.resources;
  const resources = new Map<string, number>();
  for (const type of process.getActiveResourcesInfo()) resources.set(type, (resources.get(type) ?? 0) + 1);
  counted = { at: now, resources };
  return resources;
}

/** Codes for clients that a rule or a limit turned away, although nothing broke. */
const refusals: ReadonlySet<ConnectionCode> = new Set<ConnectionCode>([
  'ERR_ADDRESS_DENIED',
  'ERR_CONNECTION_LIMIT',
  'ERR_CONNECTION_LIMIT_PER_IP',
  'ERR_RATE_LIMIT_PER_IP',
  'ERR_DESCRIPTORS_EXHAUSTED',
  'ERR_PROXY_HEADER_UNTRUSTED',
  'ERR_STARTTLS_REQUIRED',
  'ERR_CANCEL_REFUSED',
  'ERR_NO_ROUTE',
  'ERR_ROUTE_DENIED',
  'ERR_HANDSHAKE_LIMIT',
  'ERR_CLIENT_CERT_REQUIRED',
  'ERR_CLIENT_CERT_UNTRUSTED',
  'ERR_CLIENT_CERT_EXPIRED',
  'ERR_CLIENT_CERT_NOT_YET_VALID',
  'ERR_CLIENT_CERT_REVOKED',
  'ERR_CLIENT_CERT_PURPOSE',
  'ERR_CLIENT_CERT_NOT_PINNED',
  'ERR_CLIENT_CERT_NOT_ALLOWED',
  'ERR_AUTHORIZE_DENIED',
  'ERR_UPSTREAM_TEMPLATE',
  'ERR_UPSTREAM_ADDRESS_FORBIDDEN',
]);

function outcomeOf({ code, isProbe }: AccessRecord): Outcome {
  if (isProbe) return 'probe';
  if (code === undefined) return 'ok';
  return refusals.has(code) ? 'refused' : 'error';
}

/** What a connection adds, whether it has ended or not. */
function measure(totals: Totals, record: AccessRecord): void {
  const { bytes, handshakeMs, queueMs, connectMs, tls, upstream } = record;
  const counts = countsOf(totals, record.listener);
  counts.bytesIn += bytes.in;
  counts.bytesOut += bytes.out;
  const traffic = trafficOf(counts, record.route ?? '');
  traffic.bytesIn += bytes.in;
  traffic.bytesOut += bytes.out;
  if (handshakeMs !== undefined) {
    observe(tls?.resumed ? counts.handshakes.resumed : counts.handshakes.full, handshakeMs / 1000);
  }
  if (upstream === undefined) return;
  if (connectMs !== undefined) observe(histogramOf(totals.connects, upstream), connectMs / 1000);
  if (queueMs !== undefined) observe(histogramOf(totals.queues, upstream), queueMs / 1000);
}

function outcomesOf({ outcomes }: ListenerCounts, route: string | number): Record<Outcome, number> {
  let counts = outcomes.get(route);
  if (counts === undefined) {
    counts = noOutcomes();
    outcomes.set(route, counts);
  }
  return counts;
}

function trafficOf({ traffic }: ListenerCounts, route: string | number): Traffic {
  let counts = traffic.get(route);
  if (counts === undefined) {
    counts = { active: 0, bytesIn: 0, bytesOut: 0 };
    traffic.set(route, counts);
  }
  return counts;
}

export function noOutcomes(): Record<Outcome, number> {
  return { ok: 0, error: 0, refused: 0, probe: 0 };
}

function warmOf({ warm }: Totals, upstream: string): WarmCounts {
  let counts = warm.get(upstream);
  if (counts === undefined) {
    counts = { taken: 0, missed: 0, closed: 0, expired: 0 };
    warm.set(upstream, counts);
  }
  return counts;
}

function histogramOf(histograms: Map<string, Histogram>, upstream: string): Histogram {
  let histogram = histograms.get(upstream);
  if (histogram === undefined) {
    histogram = emptyHistogram();
    histograms.set(upstream, histogram);
  }
  return histogram;
}

function emptyHistogram(): Histogram {
  return { counts: new Array<number>(bucketBounds.length + 1).fill(0), sum: 0 };
}

function observe(histogram: Histogram, seconds: number): void {
  let bucket = 0;
  while (bucket < bucketBounds.length && seconds > (bucketBounds[bucket] ?? 0)) bucket += 1;
  histogram.counts[bucket] = (histogram.counts[bucket] ?? 0) + 1;
  histogram.sum += seconds;
}

function addCounts(to: ListenerCounts, from: ListenerCounts): void {
  to.opened += from.opened;
  to.closed += from.closed;
  to.bytesIn += from.bytesIn;
  to.bytesOut += from.bytesOut;
  for (const [route, counts] of from.outcomes) {
    const sum = outcomesOf(to, route);
    for (const outcome of outcomes) sum[outcome] += counts[outcome];
  }
  for (const [route, counts] of from.traffic) {
    const sum = trafficOf(to, route);
    sum.active += counts.active;
    sum.bytesIn += counts.bytesIn;
    sum.bytesOut += counts.bytesOut;
  }
  for (const side of ['client', 'upstream', 'proxy'] as const) {
    for (const [code, count] of from.errors[side]) {
      to.errors[side].set(code, (to.errors[side].get(code) ?? 0) + count);
    }
    for (const [code, ending] of from.latest[side]) {
      const known = to.latest[side].get(code);
      if (known === undefined || known.at < ending.at) to.latest[side].set(code, ending);
    }
  }
  addHistogram(to.handshakes.full, from.handshakes.full);
  addHistogram(to.handshakes.resumed, from.handshakes.resumed);
}

function addHistogram(to: Histogram, from: Histogram): void {
  for (const [bucket, count] of from.counts.entries()) to.counts[bucket] = (to.counts[bucket] ?? 0) + count;
  to.sum += from.sum;
}
