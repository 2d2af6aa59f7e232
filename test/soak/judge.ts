/** What a soak's recording says: a verdict for each check. Pure. */
import type { Latency, Minute } from './ledger.ts';
import type { ProcessSample, Sample } from './observer.ts';
import { type End, type Recording, seriesOf } from './recording.ts';
import { fit, median, minuteMedians } from './statistics.ts';

/** `ok` undefined: the soak was too short to tell. */
export type Check = { readonly name: string; readonly ok: boolean | undefined; readonly said: string };

/** A process's first minutes: code is compiled, caches fill, the heap finds its size. */
export const warmUpSeconds = 300;
/** Less of a process is not judged: a line through noise may have any slope. */
const leastSeconds = 600;
/** A slope is a leak if it is above that share of the mean in an hour, and above twice its standard error. */
export const slopeTolerance = 0.1;
/** So many descriptors or resources in an hour are no leak of connections. */
const countTolerance = 6;
/** How much the last third's median of minutes may be above the first third's, as a ratio. */
export const latencyTolerance = { p50: 1.3, p99: 1.5 };
/** What an idle process may hold more than one that has served nobody: the configuration of the end may have a listener more. */
const idleTolerance = 3;

export function judge(recording: Recording): Check[] {
  const { end } = recording;
  if (end === undefined) return [{ name: 'the soak came to its end', ok: false, said: 'it did not' }];
  return [
    nothingLost(recording, end),
    check(
      'nothing wrong was seen',
      recording.wrong.length === 0,
      some(recording.wrong) || 'by clients, endpoints and reloads',
    ),
    everyConnectionCounted(recording, end),
    ...figures.flatMap((figure) => slopes(recording, figure)),
    ...idle(recording),
    cardinality(recording),
    ...(['short', 'message'] as const).flatMap((what) =>
      (['p50', 'p99'] as const).map((percent) => latency(recording.minutes, what, percent)),
    ),
    ...faults(end),
  ];
}

export type Figure = {
  readonly name: string;
  readonly value: (process: ProcessSample) => number;
  /** In an hour, given the mean. */
  readonly tolerance: (mean: number) => number;
  readonly show: (value: number) => string;
};

const megabytes = (value: number) => `${(value / 2 ** 20).toFixed(1)} MiB`;
const count = (value: number) => value.toFixed(1);

export const figures: readonly Figure[] = [
  {
    name: 'resident memory',
    value: ({ rss }) => rss,
    tolerance: (mean) => mean * slopeTolerance,
    show: megabytes,
  },
  { name: 'heap', value: ({ heap }) => heap, tolerance: (mean) => mean * slopeTolerance, show: megabytes },
  {
    name: 'descriptors',
    value: ({ descriptors }) => descriptors,
    tolerance: (mean) => Math.max(countTolerance, mean * slopeTolerance),
    show: count,
  },
  {
    name: 'sockets and timers',
    value: ({ resources }) => resources,
    tolerance: (mean) => Math.max(countTolerance, mean * slopeTolerance),
    show: count,
  },
];

export type Slope = {
  readonly figure: Figure;
  readonly id: string;
  readonly minutes: number;
  readonly mean: number;
  readonly perHour: number;
  readonly error: number;
  readonly leaks: boolean;
};

/** The slopes of a figure, of each process that was seen for long enough. */
export function slopesOf(recording: Pick<Recording, 'samples'>, figure: Figure): Slope[] {
  return seriesOf(recording, figure.value).flatMap(({ id, points }) => {
    const [first] = points;
    const warm = points.filter(({ t }) => t >= (first?.t ?? 0) + warmUpSeconds);
    const seconds = (warm.at(-1)?.t ?? 0) - (warm[0]?.t ?? 0);
    const line = fit(minuteMedians(warm));
    if (line === undefined || seconds < leastSeconds) return [];
    const leaks = line.perHour > figure.tolerance(line.mean) && line.perHour > 2 * line.error;
    return [{ figure, id, minutes: seconds / 60, ...line, leaks }];
  });
}

function slopes(recording: Recording, figure: Figure): Check[] {
  const found = slopesOf(recording, figure);
  const name = `${figure.name} does not grow`;
  if (!found.some(({ id }) => id !== 'supervisor')) {
    return [{ name, ok: undefined, said: 'no worker was seen for long enough' }];
  }
  return found.map(({ id, minutes, mean, perHour, error, leaks }) =>
    check(
      `${name}: ${id === 'supervisor' ? id : `worker ${id}`}`,
      !leaks,
      `${figure.show(perHour)} ± ${figure.show(error)} an hour, of ${figure.show(mean)}, over ${minutes.toFixed(0)} min`,
    ),
  );
}

function nothingLost({ lost }: Recording, { totals }: End): Check {
  const said = `${totals.visits} visits, ${totals.lost} lost, ${totals.excused} ended with a process that was killed`;
  const which = some(lost.map(({ way, kind, error }) => `${way} ${kind}: ${error}`));
  return check('no connection and no byte is lost', totals.lost === 0, which ? `${said}: ${which}` : said);
}

/**
 * Those of killed workers are told of by nobody, nor are the last ones that they served. Linux drops a connection that was
 * reset before it was accepted.
 */
function everyConnectionCounted(
  { idle: samples }: Recording,
  { totals: { connects, hasty }, faults: { workerKills, killedConnections } }: End,
): Check {
  const counted = samples.at(-1)?.ended ?? Number.NaN;
  const missing = connects - counted;
  return check(
    'every connection is in the metrics',
    missing >= 0 && missing <= killedConnections + 20 * workerKills + hasty,
    `${connects} were made, ${counted} counted; ${killedConnections} were open in killed workers, ${hasty} were reset at once`,
  );
}

function idle({ idle: samples }: Recording): Check[] {
  const [before, after] = [samples[0], samples.at(-1)];
  if (before === undefined || after === undefined || before === after) {
    return [{ name: 'everything is given back', ok: false, said: 'the end was not seen' }];
  }
  const most = (sample: Sample, value: (it: ProcessSample) => number, worker: boolean) =>
    Math.max(...sample.processes.filter(({ id }) => (id !== 'supervisor') === worker).map(value));
  const compared = (
    [
      ['descriptors', (it) => it.descriptors],
      ['sockets and timers', (it) => it.resources],
    ] as [string, (it: ProcessSample) => number][]
  ).flatMap(([name, value]) =>
    [true, false].map((worker) => {
      const [from, to] = [most(before, value, worker), most(after, value, worker)];
      const who = worker ? 'workers' : 'the supervisor';
      return check(
        `${name} of ${who} are given back`,
        to <= from + idleTolerance,
        `${from} before, ${to} after`,
      );
    }),
  );
  return [
    check('no connection stays open', after.active === 0, `${after.active} open`),
    check('replaced workers end', after.processes.length === 3, `${after.processes.length - 1} workers`),
    ...compared,
  ];
}

/** From the middle of the soak on nothing is new: all routes have been used, all variants of the configuration loaded. */
function cardinality({ samples }: Recording): Check {
  const half = Math.floor(samples.length / 2);
  const most = (part: readonly Sample[]) => Math.max(...part.map(({ fixedSeries }) => fixedSeries));
  const [from, to] = [most(samples.slice(0, half)), most(samples.slice(half))];
  const enough = (samples.at(-1)?.t ?? 0) >= leastSeconds;
  return check(
    'metrics get no new series',
    enough ? to <= from : undefined,
    `${from} in the first half, ${to} in the second, besides those of workers and codes`,
  );
}

/** Thirds of the minutes that were whole, but the first tenth; beside what the machine did without a proxy. */
function latency(all: readonly Minute[], what: Latency, percent: 'p50' | 'p99'): Check {
  const name = `latency is flat: ${what === 'short' ? 'short connections' : 'messages'}, ${percent}`;
  const minutes = all.slice(Math.ceil(all.length / 10));
  const third = Math.floor(minutes.length / 3);
  if (third < 3) return { name, ok: undefined, said: 'the soak was too short to tell' };
  const of = (which: Latency, part: readonly Minute[]) =>
    median(part.flatMap(({ latency }) => latency[which][percent] ?? []));
  const growth = (which: Latency) => of(which, minutes.slice(-third)) / of(which, minutes.slice(0, third));
  const [own, direct] = [growth(what), growth('direct')];
  const limit = latencyTolerance[percent];
  const ms = (part: readonly Minute[]) => `${of(what, part).toFixed(2)} ms`;
  return check(
    name,
    own <= limit || own / direct <= limit,
    `${ms(minutes.slice(0, third))} in the first third, ${ms(minutes.slice(-third))} in the last; without a proxy × ${direct.toFixed(2)}`,
  );
}

function faults({ faults: counts, log, exit }: End): Check[] {
  // The only ones that there is a reason for.
  const expected = /^error: (worker died|reload failed)/;
  const bad = Object.entries(log.others).filter(
    ([line]) => /^(error|fatal|stderr)/.test(line) && !expected.test(line),
  );
  return [
    check('every fault was dealt with', counts.endpointKills === counts.ejections, JSON.stringify(counts)),
    check(
      'the log has no error without a reason',
      bad.length === 0,
      some(bad.map(([line]) => line)) || 'none',
    ),
    check('it ends when it is told to', exit === 0, `exit code ${exit}`),
  ];
}

function check(name: string, ok: boolean | undefined, said: string): Check {
  return { name, ok, said };
}

/** The first few, and how many more. */
function some(texts: readonly string[]): string {
  const shown = texts.slice(0, 5).join('; ');
  return texts.length > 5 ? `${shown}; and ${texts.length - 5} more` : shown;
}
