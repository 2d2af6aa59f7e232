/** The counts of one process, and their sum over all. */
import { createHistogram, type Histogram, merge } from './histogram.ts';

/**
 * `connect`: from the (intended) start to the TCP connection. `handshake`: from there, STARTTLS and TLS.
 * `first_byte`: from the start to the first byte of the first answer. `message`: from sending a message to
 * the last byte of its answer. `whole`: from the start until the connection is closed.
 */
export const stages = ['connect', 'handshake', 'first_byte', 'message', 'whole'] as const;
export type Stage = (typeof stages)[number];

/** Counts of connections that began after the warm-up. Plain data, which can be sent by structured clone. */
export type Tally = {
  /** Connections that did everything and closed. */
  connections: number;
  /** Connections cut short by the end of the run: neither successes nor failures. */
  unfinished: number;
  /** Handshakes that offered a session, and those of them that the server resumed. */
  offered: number;
  resumed: number;
  /** By kind; see docs/load.md. */
  readonly errors: Map<string, number>;
  /** What was negotiated: `TLSv1.3`, a cipher suite's name, a group's name. */
  readonly versions: Map<string, number>;
  readonly ciphers: Map<string, number>;
  readonly groups: Map<string, number>;
  readonly latency: Readonly<Record<Stage, Histogram>>;
};

/** Totals over all connections; rates are the difference between two moments. Bytes are payload. */
export type Flow = { connections: number; handshakes: number; messages: number; up: number; down: number };

/** The results of one process. */
export type ProcessResult = {
  readonly tally: Tally;
  /** Within the measured time, for rates; and until the last connection had closed. */
  readonly flow: Flow;
  readonly total: Flow;
  readonly windowMs: number;
  /** CPU of the process, within that time. */
  readonly cpuMs: number;
  /** Key type of the server's certificate, such as `ec prime256v1`. */
  readonly certificate: string | undefined;
};

export function createTally(): Tally {
  const latency = Object.fromEntries(stages.map((stage) => [stage, createHistogram()]));
  return {
    connections: 0,
    unfinished: 0,
    offered: 0,
    resumed: 0,
    errors: new Map(),
    versions: new Map(),
    ciphers: new Map(),
    groups: new Map(),
    latency: latency as Record<Stage, Histogram>, // one of each stage
  };
}

export function createFlow(): Flow {
  return { connections: 0, handshakes: 0, messages: 0, up: 0, down: 0 };
}

export function count(counts: Map<string, number>, key: string, by = 1): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}

/** Adds up all processes. They measure at the same time, so the longest window is that of all. */
export function sumResults(results: readonly ProcessResult[]): ProcessResult {
  const tally = createTally();
  for (const result of results) addTally(tally, result.tally);
  return {
    tally,
    flow: sumFlows(results.map(({ flow }) => flow)),
    total: sumFlows(results.map(({ total }) => total)),
    windowMs: Math.max(...results.map(({ windowMs }) => windowMs)),
    cpuMs: results.reduce((sum, { cpuMs }) => sum + cpuMs, 0),
    certificate: results.find(({ certificate }) => certificate !== undefined)?.certificate,
  };
}

function sumFlows(flows: readonly Flow[]): Flow {
  const sum = createFlow();
  for (const flow of flows) {
    for (const key of Object.keys(sum) as (keyof Flow)[]) sum[key] += flow[key];
  }
  return sum;
}

function addTally(sum: Tally, tally: Tally): void {
  for (const key of ['connections', 'unfinished', 'offered', 'resumed'] as const) sum[key] += tally[key];
  for (const key of ['errors', 'versions', 'ciphers', 'groups'] as const) {
    for (const [name, number] of tally[key]) count(sum[key], name, number);
  }
  for (const stage of stages) merge(sum.latency[stage], tally.latency[stage]);
}
