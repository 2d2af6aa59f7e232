/** A soak's summary and curves, from its recording: `node test/soak/report.ts DIR` makes them again. */
import { writeFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { type Mark, type Panel, renderChart } from './chart.ts';
import {
  type Check,
  figures,
  judge,
  latencyTolerance,
  slopesOf,
  slopeTolerance,
  warmUpSeconds,
} from './judge.ts';
import type { Latency, Minute } from './ledger.ts';
import type { ProcessSample } from './observer.ts';
import { type Recording, readRecording, seriesOf } from './recording.ts';
import { minuteMedians } from './statistics.ts';

/** Writes `summary.md` and the curves beside the recording; the names of the checks that failed. */
export function writeReport(directory: string): string[] {
  const recording = readRecording(directory);
  const checks = judge(recording);
  writeFileSync(join(directory, 'summary.md'), summary(recording, checks));
  for (const [name, text] of Object.entries(charts(recording))) writeFileSync(join(directory, name), text);
  return checks.filter(({ ok }) => ok === false).map(({ name, said }) => `${name} (${said})`);
}

function summary(recording: Recording, checks: readonly Check[]): string {
  const { begin, end } = recording;
  const verdict = { true: 'holds', false: '**FAILS**', undefined: 'not judged' };
  const rows = checks.map(
    ({ name, ok, said }) => `| ${name} | ${verdict[`${ok}`]} | ${said.replaceAll('|', '\\|')} |`,
  );
  return `# Soak of ${new Date(begin.at).toISOString().slice(0, 16).replace('T', ' ')} UTC

${end ? figuresOf(recording) : 'It did not come to its end.'}

| check | verdict | what was seen |
| --- | --- | --- |
${rows.join('\n')}

Slopes are of least squares through the medians of minutes, without a process's first ${warmUpSeconds / 60} minutes. One is a
leak if it is above ${slopeTolerance * 100}% of the mean in an hour and above twice its standard error. Latency is flat if the
median of the last third's minutes is at most ${latencyTolerance.p50} times (p99: ${latencyTolerance.p99} times) that of the
first third, or grew no more than that beside connections that go past the proxy.

${slopeTable(recording)}

${logTable(recording)}
`;
}

function logTable({ end }: Recording): string {
  const rows = Object.entries(end?.log.others ?? {}).map(([line, count]) => `| ${line} | ${count} |`);
  return `| logged, besides connections | times |\n| --- | --- |\n${rows.join('\n')}`;
}

function figuresOf(recording: Recording): string {
  const { begin, end, samples } = recording;
  if (end === undefined) return '';
  const { totals, faults } = end;
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`;
  const number = (value: number) => value.toLocaleString('en');
  const rows: [string, string][] = [
    [
      'time',
      `${(end.seconds / 60).toFixed(1)} minutes, Node ${begin.node}, ${availableParallelism()} cores, ${gigabytes(totalmem())} memory`,
    ],
    [
      'CPU time of everything together',
      `${(100 * cpuShare(samples, () => true)).toFixed(0)}% of the cores; penstock ${(100 * cpuShare(samples, (it) => it === 'penstock')).toFixed(0)}%`,
    ],
    ['visits that had to be served', number(totals.visits)],
    ['visits that had to be turned away, or that gave up', number(totals.hostile)],
    ['visits left out, since the machine was too busy', number(end.skipped)],
    ['connections to penstock', number(totals.connects)],
    ['payload, each byte compared', `${gigabytes(totals.up)} up, ${gigabytes(totals.down)} down`],
    ['**lost**', `**${totals.lost}**`],
    [
      'ended with a process that was killed',
      `${totals.excused}, of ${faults.killedConnections} that were open in killed workers, and those of killed endpoints`,
    ],
    [
      'reloads',
      `${faults.reloads} taken (${faults.certificates} with new certificates), ${faults.refusedReloads} faulty ones refused`,
    ],
    ['workers', `${faults.workerKills} killed, all replaced ${faults.upgrades} times`],
    ['endpoints', `${faults.endpointKills} killed; found down and back each time`],
  ];
  return `| | |\n| --- | --- |\n${rows.map(([what, said]) => `| ${what} | ${said} |`).join('\n')}`;
}

/** CPU time of a part as a share of all cores. */
function cpuShare(samples: Recording['samples'], wanted: (part: 'penstock' | 'others') => boolean): number {
  let seconds = 0;
  for (const [index, sample] of samples.entries()) {
    const before = samples[index - 1];
    if (before === undefined) continue;
    if (wanted('others')) {
      seconds += sample.driver.cpu - before.driver.cpu + sample.endpointsCpu - before.endpointsCpu;
    }
    for (const { pid, cpu } of sample.processes) {
      const last = before.processes.find((it) => it.pid === pid)?.cpu ?? 0;
      if (wanted('penstock')) seconds += cpu - last;
    }
  }
  const span = (samples.at(-1)?.t ?? 0) - (samples[0]?.t ?? 0);
  return seconds / span / availableParallelism();
}

function slopeTable(recording: Recording): string {
  const rows = figures.flatMap((figure) =>
    slopesOf(recording, figure).map(
      ({ id, minutes, mean, perHour, error }) =>
        `| ${figure.name} | ${id} | ${minutes.toFixed(0)} | ${figure.show(mean)} | ${figure.show(perHour)} ± ${figure.show(error)} |`,
    ),
  );
  if (rows.length === 0) return '';
  return `| figure | process | minutes | mean | slope an hour |\n| --- | --- | --- | --- | --- |\n${rows.join('\n')}`;
}

function charts(recording: Recording): Record<string, string> {
  const kinds = ['worker killed', 'workers replaced', 'endpoint killed'];
  const marks = recording.events.flatMap(({ t, said }): Mark[] => {
    const kind = said.startsWith('worker ')
      ? 0
      : said.startsWith('workers replaced')
        ? 1
        : said === 'endpoint killed'
          ? 2
          : -1;
    return kind < 0 ? [] : [{ t, kind }];
  });
  const draw = (title: string, panels: readonly Panel[]) => renderChart(title, panels, marks, kinds);
  return {
    'soak-memory.svg': draw('Memory of each process', [
      processPanel(recording, 'Resident memory', 'MiB', ({ rss }) => rss / 2 ** 20),
      processPanel(recording, 'Heap in use', 'MiB', ({ heap }) => heap / 2 ** 20),
    ]),
    'soak-handles.svg': draw('What each process holds', [
      processPanel(recording, 'Descriptors', 'count', ({ descriptors }) => descriptors),
      processPanel(recording, 'Sockets, timers and requests', 'count', ({ resources }) => resources),
      processPanel(recording, 'Open connections', 'count', ({ connections }) => connections),
    ]),
    'soak-latency.svg': draw('Latency by minute, through the proxy and past it', [
      latencyPanel(recording.minutes, 'Short connections, handshake to last byte: median', 'p50', [
        'short',
        'direct',
      ]),
      latencyPanel(recording.minutes, 'Short connections: 99 of 100', 'p99', ['short', 'direct']),
      latencyPanel(recording.minutes, 'Messages on open connections, there and back: median', 'p50', [
        'message',
      ]),
      latencyPanel(recording.minutes, 'Messages: 99 of 100', 'p99', ['message']),
    ]),
    'soak-load.svg': draw('Load by minute', [
      minutePanel(recording.minutes, 'Connections', 'a second', {
        served: ({ visits }) => visits / 60,
        'turned away': ({ hostile }) => hostile / 60,
      }),
      minutePanel(recording.minutes, 'Payload, each byte compared', 'MB a second', {
        up: ({ up }) => up / 60e6,
        down: ({ down }) => down / 60e6,
      }),
      minutePanel(recording.minutes, 'Not served', 'connections', {
        lost: ({ lost }) => lost,
        'with a killed process': ({ excused }) => excused,
      }),
      {
        title: 'Series of the metrics',
        unit: 'count',
        curves: [{ name: 'all', points: recording.samples.map(({ t, series }) => ({ t, value: series })) }],
      },
    ]),
  };
}

/** Medians of minutes, but of short soaks all points. */
function processPanel(
  recording: Recording,
  title: string,
  unit: string,
  value: (process: ProcessSample) => number,
): Panel {
  const long = recording.samples.length > 240;
  let workers = 0;
  const curves = seriesOf(recording, value).map(({ id, points }) => {
    if (id !== 'supervisor') workers += 1;
    // So many workers come and go that one name has to do.
    const name = id === 'supervisor' ? id : workers === 1 ? 'workers, a curve each' : '';
    return { name, points: long ? minuteMedians(points) : points };
  });
  return { title, unit, curves };
}

function minutePanel(
  minutes: readonly Minute[],
  title: string,
  unit: string,
  curves: Record<string, (minute: Minute) => number>,
): Panel {
  return {
    title,
    unit,
    curves: Object.entries(curves).map(([name, value]) => ({
      name,
      points: minutes.map((minute) => ({ t: minute.minute * 60 + 30, value: value(minute) })),
    })),
  };
}

function latencyPanel(
  minutes: readonly Minute[],
  title: string,
  percent: 'p50' | 'p99',
  which: readonly Latency[],
): Panel {
  const names = { short: 'penstock', message: 'penstock', direct: 'without a proxy' };
  return {
    title,
    unit: 'ms',
    curves: which.map((what) => ({
      name: names[what],
      points: minutes.flatMap(({ minute, latency }) => {
        const value = latency[what][percent];
        return value === undefined ? [] : [{ t: minute * 60 + 30, value }];
      }),
    })),
  };
}

if (import.meta.main) {
  const failed = writeReport(process.argv[2] ?? 'soak');
  process.stdout.write(failed.length === 0 ? 'every check passed\n' : `failed: ${failed.join('; ')}\n`);
}
