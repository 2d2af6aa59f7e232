/** The results as numbers, for `--json`, assertions and the table. */
import { type Histogram, percentile } from './histogram.ts';
import { type ProcessResult, type Stage, stages, sumResults } from './tally.ts';

/** Milliseconds. If none was recorded, all but `count` are null. */
export type Latency = {
  readonly count: number;
  readonly mean: number | null;
  readonly p50: number | null;
  readonly p90: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
  readonly 'p99.9': number | null;
  readonly max: number | null;
};

export type Figures = {
  /** The measured time: without the warm-up, and without waiting for connections still open at the end. */
  readonly elapsed_s: number;
  readonly connections: number;
  readonly unfinished: number;
  readonly errors: { readonly total: number; readonly kinds: Readonly<Record<string, number>> };
  /** Per second. */
  readonly rate: number;
  readonly handshakes_per_s: number;
  readonly messages_per_s: number;
  readonly bytes_up_per_s: number;
  readonly bytes_down_per_s: number;
  readonly handshakes: number;
  readonly messages: number;
  readonly bytes_up: number;
  readonly bytes_down: number;
  /** `share` of all handshakes; null without any. */
  readonly resumed: {
    readonly offered: number;
    readonly resumed: number;
    readonly full: number;
    readonly share: number | null;
  };
  readonly latency_ms: Readonly<Record<Stage, Latency>>;
  readonly tls: {
    readonly versions: Readonly<Record<string, number>>;
    readonly ciphers: Readonly<Record<string, number>>;
    readonly groups: Readonly<Record<string, number>>;
    readonly certificate: string | null;
  };
  /** CPU time of the generator itself. `busiest` is the share of a core used by the busiest process. */
  readonly cpu: {
    readonly seconds: number;
    readonly per_connection_ms: number | null;
    readonly busiest: number;
    readonly bottleneck: boolean;
  };
};

/**
 * From this share of a core on, the generator is assumed to limit the rate; a short run is mostly start-up.
 */
const busy = 0.9;
const longEnoughMs = 1000;

export function figuresOf(results: readonly ProcessResult[]): Figures {
  const { tally, flow, total, windowMs, cpuMs, certificate } = sumResults(results);
  const perSecond = (number: number) => (windowMs > 0 ? number / (windowMs / 1000) : 0);
  const handshakes = [...tally.versions.values()].reduce((sum, one) => sum + one, 0);
  const busiest = Math.max(...results.map((result) => result.cpuMs / Math.max(1, result.windowMs)));
  const kinds = [...tally.errors].sort(([, one], [, other]) => other - one);
  return {
    elapsed_s: windowMs / 1000,
    connections: tally.connections,
    unfinished: tally.unfinished,
    errors: { total: kinds.reduce((sum, [, number]) => sum + number, 0), kinds: Object.fromEntries(kinds) },
    rate: perSecond(flow.connections),
    handshakes_per_s: perSecond(flow.handshakes),
    messages_per_s: perSecond(flow.messages),
    bytes_up_per_s: perSecond(flow.up),
    bytes_down_per_s: perSecond(flow.down),
    handshakes,
    messages: total.messages,
    bytes_up: total.up,
    bytes_down: total.down,
    resumed: {
      offered: tally.offered,
      resumed: tally.resumed,
      full: handshakes - tally.resumed,
      share: handshakes > 0 ? tally.resumed / handshakes : null,
    },
    latency_ms: Object.fromEntries(stages.map((stage) => [stage, latencyOf(tally.latency[stage])])) as Record<
      Stage,
      Latency
    >, // one of each stage
    tls: {
      versions: Object.fromEntries(tally.versions),
      ciphers: Object.fromEntries(tally.ciphers),
      groups: Object.fromEntries(tally.groups),
      certificate: certificate ?? null,
    },
    cpu: {
      seconds: cpuMs / 1000,
      per_connection_ms: flow.connections > 0 ? cpuMs / flow.connections : null,
      busiest,
      bottleneck: busiest >= busy && windowMs >= longEnoughMs,
    },
  };
}

function latencyOf(histogram: Histogram): Latency {
  const at = (percent: number) => percentile(histogram, percent) ?? null;
  return {
    count: histogram.count,
    mean: histogram.count > 0 ? histogram.sum / histogram.count / 1000 : null,
    p50: at(50),
    p90: at(90),
    p95: at(95),
    p99: at(99),
    'p99.9': at(99.9),
    max: histogram.count > 0 ? histogram.max / 1000 : null,
  };
}
