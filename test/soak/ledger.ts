/** What became of each visit, and who is to blame: only what a fault of ours explains is no loss. */
import {
  createHistogram,
  type Histogram,
  percentile,
  record,
} from '../../src/tools/load/engine/histogram.ts';
import type { Progress } from './conversation.ts';

/** A connection, or for a cancel two, from its first SYN to its end. */
export type Visit = {
  readonly id: number;
  readonly way: string;
  readonly kind: string;
  /** The client's ports. */
  readonly ports: number[];
  readonly startedAt: number;
  readonly progress: Progress;
};

/** How long something took, told by minute. `direct` is a short visit without the proxy. */
export type Latency = 'short' | 'message' | 'direct';

export type Minute = {
  readonly minute: number;
  readonly visits: number;
  readonly hostile: number;
  readonly excused: number;
  readonly lost: number;
  readonly up: number;
  readonly down: number;
  readonly latency: Readonly<
    Record<Latency, { count: number; p50: number | undefined; p99: number | undefined }>
  >;
};

export type Excuse = { readonly why: 'worker killed' | 'endpoint killed'; readonly at: number };

export type Ledger = {
  readonly begin: (way: string, kind: string) => Visit;
  /** It has ended: well, or with what is wrong. */
  readonly end: (visit: Visit, error?: string) => void;
  /** It was there to be turned away, and was; or with what is wrong. */
  readonly turnedAway: (visit: Visit, wrong?: string) => void;
  readonly took: (what: Latency, ms: number) => void;
  /** A worker was killed, with the connections of these ports. */
  readonly workerKilled: (at: number, ports: ReadonlySet<number>) => void;
  /** The endpoint with this label is about to be killed; what is returned is called when it is gone. */
  readonly endpointDies: (label: string) => () => void;
  /** Something that must not be, whoever found it. */
  readonly wrong: (said: string) => void;
  /** Whether a visit ended with an excuse. */
  readonly isExcused: (visit: number) => boolean;
  readonly openVisits: () => number;
  readonly totals: Totals;
};

export type Totals = {
  visits: number;
  hostile: number;
  excused: number;
  lost: number;
  wrong: number;
  /** Bytes that were compared, by direction as clients see it. */
  up: number;
  down: number;
  /** Connections that were established to the proxy. */
  connects: number;
  /** Those of them that were reset at once: the proxy may never have seen them. */
  hasty: number;
};

type Line = Readonly<Record<string, unknown>> & { readonly type: string };

/** `tell` is given a line for each minute and for each loss, as it happens. Times are of performance.now(). */
export function createLedger(tell: (line: Line) => void): Ledger & { readonly close: () => void } {
  const startedAt = performance.now();
  const open = new Map<number, Visit>();
  const kills: { at: number; ports: ReadonlySet<number> }[] = [];
  const deaths: { label: string; from: number; to: number }[] = [];
  const excused = new Set<number>();
  const totals: Totals = {
    visits: 0,
    hostile: 0,
    excused: 0,
    lost: 0,
    wrong: 0,
    up: 0,
    down: 0,
    connects: 0,
    hasty: 0,
  };
  let minute = 0;
  let before = { ...totals };
  let latency = emptyLatency();
  let next = 1;

  function excuseOf({ ports, startedAt: from, way, progress }: Visit): Excuse['why'] | undefined {
    const now = performance.now();
    const within = (kill: { from: number; to: number }) => from <= kill.to && kill.from <= now;
    if (
      kills.some(({ at, ports: lost }) => within({ from: at, to: at }) && ports.some((it) => lost.has(it)))
    ) {
      return 'worker killed';
    }
    // Who had answered is known by name; who had not may have been the dead one's.
    const label = progress.greeting?.label;
    const died = deaths.some((it) => within(it) && way === 'mortal' && (label ?? it.label) === it.label);
    return died ? 'endpoint killed' : undefined;
  }

  function settle(visit: Visit, error: string | undefined): boolean {
    open.delete(visit.id);
    totals.up += visit.progress.up;
    totals.down += visit.progress.down;
    totals.connects += visit.way === 'direct' ? 0 : visit.ports.length;
    totals.hasty += visit.kind === 'hasty' ? 1 : 0;
    const why = excuseOf(visit);
    if (why !== undefined) excused.add(visit.id);
    if (error === undefined) return true;
    if (why !== undefined) {
      totals.excused += 1;
      return true;
    }
    const { id, way, kind, ports, progress } = visit;
    const seconds = (performance.now() - visit.startedAt) / 1000;
    tell({ type: 'lost', at: Date.now(), id, way, kind, ports, seconds, progress, error });
    return false;
  }

  function flush(): void {
    const now = Math.floor((performance.now() - startedAt) / 60_000);
    if (now === minute) return;
    const since = (key: keyof Totals) => totals[key] - before[key];
    tell({
      type: 'minute',
      minute,
      visits: since('visits'),
      hostile: since('hostile'),
      excused: since('excused'),
      lost: since('lost'),
      up: since('up'),
      down: since('down'),
      latency: summary(latency),
    } satisfies Minute & Line);
    minute = now;
    before = { ...totals };
    latency = emptyLatency();
  }
  const timer = setInterval(flush, 1000);

  return {
    totals,
    begin(way, kind) {
      const progress: Progress = { up: 0, down: 0, greeting: undefined };
      const visit = { id: next, way, kind, ports: [], startedAt: performance.now(), progress };
      next += 1;
      open.set(visit.id, visit);
      return visit;
    },
    end(visit, error) {
      totals.visits += 1;
      if (!settle(visit, error)) totals.lost += 1;
    },
    turnedAway(visit, wrong) {
      totals.hostile += 1;
      if (!settle(visit, wrong)) totals.wrong += 1;
    },
    took: (what, ms) => record(latency[what], ms),
    workerKilled: (at, ports) => void kills.push({ at, ports }),
    endpointDies(label) {
      // Its connections may have ended before it is known to have.
      const death = { label, from: performance.now(), to: Number.POSITIVE_INFINITY };
      deaths.push(death);
      return () => {
        death.to = performance.now();
      };
    },
    wrong(said) {
      totals.wrong += 1;
      tell({ type: 'wrong', at: Date.now(), said });
    },
    isExcused: (visit) => excused.has(visit),
    openVisits: () => open.size,
    close: () => clearInterval(timer),
  };
}

function emptyLatency(): Record<Latency, Histogram> {
  return { short: createHistogram(), message: createHistogram(), direct: createHistogram() };
}

function summary(latency: Record<Latency, Histogram>): Minute['latency'] {
  const of = (histogram: Histogram) => ({
    count: histogram.count,
    p50: percentile(histogram, 50),
    p99: percentile(histogram, 99),
  });
  return { short: of(latency.short), message: of(latency.message), direct: of(latency.direct) };
}
