/** What a soak has written down, read again: a line of JSON each. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FaultCounts } from './faults.ts';
import type { Minute, Totals } from './ledger.ts';
import type { ProcessSample, Sample } from './observer.ts';

export type Begin = {
  readonly at: number;
  readonly seconds: number;
  readonly rate: number;
  readonly node: string;
};
export type End = {
  readonly seconds: number;
  readonly totals: Totals;
  readonly skipped: number;
  readonly faults: FaultCounts;
  readonly endpointConnections: number;
  readonly log: { readonly connections: number; readonly others: Readonly<Record<string, number>> };
  readonly exit: number | string;
};
export type Event = { readonly t: number; readonly said: string };
export type Lost = {
  readonly id: number;
  readonly way: string;
  readonly kind: string;
  readonly seconds: number;
  readonly error: string;
};

export type Recording = {
  readonly begin: Begin;
  readonly samples: readonly Sample[];
  /** Before the load and after it. */
  readonly idle: readonly Sample[];
  readonly minutes: readonly Minute[];
  readonly events: readonly Event[];
  readonly lost: readonly Lost[];
  readonly wrong: readonly string[];
  /** Undefined if it did not come to an end. */
  readonly end: End | undefined;
};

/** Reads `samples.jsonl` of a directory. A last line that is cut short is left out. */
export function readRecording(directory: string): Recording {
  const lines = readFileSync(join(directory, 'samples.jsonl'), 'utf8').split('\n').slice(0, -1);
  const byType = Map.groupBy(
    lines.map((line) => JSON.parse(line) as { type: string }),
    ({ type }) => type,
  );
  const all = <T>(type: string): T[] => (byType.get(type) ?? []) as unknown as T[];
  const [begin] = all<Begin>('begin');
  if (begin === undefined) throw new Error(`${directory}: the soak did not begin`);
  return {
    begin,
    samples: all<Sample>('sample'),
    idle: all<Sample>('idle'),
    minutes: all<Minute>('minute'),
    events: all<Event>('event'),
    lost: all<Lost>('lost'),
    wrong: all<{ said: string }>('wrong').map(({ said }) => said),
    end: all<End>('end')[0],
  };
}

/** A process's figure over time: seconds and values. */
export type Series = { readonly id: string; readonly points: readonly { t: number; value: number }[] };

/** A figure of each process while it took new connections. */
export function seriesOf(
  { samples }: Pick<Recording, 'samples'>,
  value: (process: ProcessSample) => number,
): Series[] {
  const series = new Map<string, { t: number; value: number }[]>();
  for (const { t, processes } of samples) {
    for (const process of processes) {
      if (process.state !== 'ready') continue;
      const points = series.get(process.id) ?? [];
      points.push({ t, value: value(process) });
      series.set(process.id, points);
    }
  }
  return [...series].map(([id, points]) => ({ id, points }));
}
