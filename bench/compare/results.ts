/** The results of a comparison, as latest.json has them. */
import type { Machine } from './machine.ts';
import type { Outcome } from './measure.ts';
import type { Kind, Peer } from './peers.ts';
import { pairedRatios, type Summary, summarise } from './statistics.ts';
import type { Workload } from './workloads.ts';

export type Results = {
  readonly date: string;
  readonly machine: Machine;
  readonly rounds: number;
  /** Share of the usual numbers of connections. */
  readonly share: number;
  readonly pinned: boolean;
  readonly baseline: string;
  readonly peers: readonly PeerRecord[];
  readonly missing: readonly Missing[];
  readonly rows: readonly Row[];
};

export type PeerRecord = Pick<Peer, 'name' | 'kind' | 'version' | 'library'> & { readonly logs: string };
export type Missing = { readonly name: string; readonly reason: string };

export type Row = Pick<Workload, 'id' | 'title' | 'unit' | 'target' | 'baseline'> & {
  readonly connections: number;
  readonly cells: Readonly<Record<string, Cell>>;
};

export type Cell =
  | {
      readonly status: 'measured';
      /** Nanoseconds of CPU or bytes of memory, per unit. */
      readonly perUnit: Summary;
      /** To the baseline, by rounds; absent if that has no figure. */
      readonly ratio: Summary | undefined;
      readonly logLines: number;
      /** Milliseconds, medians over rounds, from the load generator. */
      readonly latency: { readonly p50: number; readonly p99: number } | undefined;
      readonly perSecond: number | undefined;
      readonly rounds: readonly number[];
    }
  | { readonly status: 'failed'; readonly reason: string }
  | { readonly status: 'unserved' };

/** What became of a workload, for the record. */
export function rowOf(
  { id, title, unit, target, baseline: own }: Workload,
  connections: number,
  outcomes: ReadonlyMap<string, Outcome>,
  baseline: { readonly name: string; readonly kind?: Kind | undefined },
): Row {
  const base = figuresOf(outcomes.get(own ?? baseline.name));
  // Targets are ratios to HAProxy; beside another baseline only that of memory means something.
  const judged = own !== undefined || baseline.kind === 'haproxy' || unit === 'idle connection';
  const cells = [...outcomes].map(([name, outcome]): [string, Cell] => [name, cellOf(outcome, base)]);
  return {
    id,
    title,
    unit,
    target: judged ? target : undefined,
    ...(own === undefined ? {} : { baseline: own }),
    connections,
    cells: Object.fromEntries(cells),
  };
}

/**
 * Whether a cell meets its row's target: of memory the figure, of all else the ratio. Undefined if the row has none or
 * there is nothing to compare; a workload that failed meets nothing.
 */
export function meetsTarget(row: Pick<Row, 'unit' | 'target'>, cell: Cell | undefined): boolean | undefined {
  if (row.target === undefined || cell === undefined || cell.status === 'unserved') return undefined;
  if (cell.status === 'failed') return false;
  const figure = row.unit === 'idle connection' ? cell.perUnit.median / 1024 : cell.ratio?.median;
  return figure === undefined ? undefined : figure <= row.target;
}

function cellOf(outcome: Outcome, base: ReadonlyMap<number, number>): Cell {
  if (outcome.status !== 'measured') return outcome;
  const { samples } = outcome;
  const figures = figuresOf(outcome);
  const perUnit = summarise([...figures.values()]);
  if (perUnit === undefined) return { status: 'failed', reason: 'no round was measured' };
  const loads = samples.flatMap(({ load }) => (load === undefined ? [] : [load]));
  const middle = (values: number[]) => summarise(values)?.median;
  const [p50, p99] = [middle(loads.map(({ p50 }) => p50)), middle(loads.map(({ p99 }) => p99))];
  return {
    status: 'measured',
    perUnit,
    ratio: summarise(pairedRatios(figures, base)),
    logLines: middle(samples.map(({ logLines }) => logLines)) ?? 0,
    latency: p50 === undefined || p99 === undefined ? undefined : { p50, p99 },
    perSecond: middle(loads.map(({ perSecond }) => perSecond)),
    rounds: [...figures.values()],
  };
}

function figuresOf(outcome: Outcome | undefined): Map<number, number> {
  if (outcome?.status !== 'measured') return new Map();
  return new Map(outcome.samples.map(({ round, perUnit }) => [round, perUnit]));
}
