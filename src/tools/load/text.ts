/** Formats the result as text and tables. */

import { harmless, wrap } from '../terminal/text.ts';
import type { AssertionVerdict } from './engine/assertion.ts';
import type { Figures, Latency } from './engine/figures.ts';
import { stages } from './engine/tally.ts';

export type Summary = {
  readonly target: string;
  /** Absent: plain TCP. */
  readonly verified: boolean | undefined;
  readonly processes: number;
  readonly figures: Figures;
  readonly notes: readonly string[];
  readonly hints: readonly string[];
  readonly verdicts: readonly AssertionVerdict[];
};

/** Lines for a terminal; text that servers influence is made harmless. */
export function formatSummary(summary: Summary): string {
  const { figures, notes, hints } = summary;
  const blocks = [
    heading(summary),
    counted(figures),
    latencies(figures),
    errors(figures),
    [...notes, ...hints].flatMap((hint) => wrap(`- ${hint}`)),
    generator(figures),
    assertions(summary.verdicts),
  ];
  const text = blocks.filter((lines) => lines.length > 0).map((lines) => lines.join('\n'));
  return `${text.join('\n\n')}\n`;
}

function heading({ target, verified, processes, figures }: Summary): string[] {
  const { tls, elapsed_s } = figures;
  const what = [tls.versions, tls.ciphers, tls.groups].map(mix).filter((text) => text !== '');
  const from = processes === 1 ? '' : ` from ${processes} processes`;
  const lines = [`${target}, ${elapsed_s.toFixed(1)} s${from}`];
  if (verified === undefined) lines.push('plain TCP');
  else {
    const certificate = tls.certificate === null ? '' : `, ${harmless(tls.certificate)} certificate`;
    lines.push(`${what.join(', ') || 'TLS'}${certificate}${verified ? '' : ', not verified (--ca)'}`);
  }
  return lines;
}

/** The names seen, each with its share unless there is only one. */
function mix(counts: Readonly<Record<string, number>>): string {
  const entries = Object.entries(counts).sort(([, one], [, other]) => other - one);
  const total = entries.reduce((sum, [, number]) => sum + number, 0);
  return entries
    .map(([name, number]) => (entries.length === 1 ? name : `${name} ${percent(number / total)}`))
    .join(' ');
}

function counted(figures: Figures): string[] {
  const { resumed, connections, unfinished } = figures;
  const rows = [['connections', whole(connections), `${rate(figures.rate)}/s`]];
  if (unfinished > 0) rows.push(['  unfinished', whole(unfinished), '']);
  if (figures.handshakes > 0) {
    rows.push(['handshakes', whole(figures.handshakes), `${rate(figures.handshakes_per_s)}/s`]);
    if (resumed.offered > 0) {
      rows.push(['  resumed', whole(resumed.resumed), percent(resumed.share ?? 0)]);
    }
  }
  if (figures.messages > 0) {
    rows.push(['messages', whole(figures.messages), `${rate(figures.messages_per_s)}/s`]);
  }
  rows.push(['sent', bytes(figures.bytes_up), `${bytes(figures.bytes_up_per_s)}/s`]);
  rows.push(['received', bytes(figures.bytes_down), `${bytes(figures.bytes_down_per_s)}/s`]);
  return align(rows);
}

const columns = ['p50', 'p90', 'p99', 'p99.9', 'max', 'mean'] as const satisfies (keyof Latency)[];

function latencies({ latency_ms }: Figures): string[] {
  const rows = stages
    .filter((stage) => latency_ms[stage].count > 0)
    .map((stage) => [stage, ...columns.map((column) => ms(latency_ms[stage][column]))]);
  return rows.length === 0 ? [] : align([['ms', ...columns], ...rows]);
}

function errors({ errors: { total, kinds } }: Figures): string[] {
  if (total === 0) return ['no errors'];
  const rows = Object.entries(kinds).map(([kind, number]) => [`  ${harmless(kind)}`, whole(number)]);
  return align([['errors', whole(total)], ...rows]);
}

function generator({ cpu }: Figures): string[] {
  const each = cpu.per_connection_ms === null ? '' : `, ${ms(cpu.per_connection_ms)} ms a connection`;
  const line = `the generator itself: ${cpu.seconds.toFixed(2)} s of CPU${each}, ${percent(cpu.busiest)} of a core`;
  if (!cpu.bottleneck) return [line];
  return [line, '  it was busy all the time: the target may do more; give it more --processes, or cores'];
}

function assertions(verdicts: readonly AssertionVerdict[]): string[] {
  return verdicts.map(
    ({ expression, ok, message }) => `${ok ? 'ok    ' : 'FAILED'}  ${expression}: ${message}`,
  );
}

/** Aligns the first column to the left, numbers to the right. */
function align(rows: readonly (readonly string[])[]): string[] {
  const [first = []] = rows;
  const widths = first.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
}

function whole(number: number): string {
  return number.toLocaleString('en');
}

function rate(number: number): string {
  return number >= 100 ? whole(Math.round(number)) : number.toFixed(1);
}

function percent(share: number): string {
  const text = (share * 100).toFixed(1);
  // Less than everything must not look like 100%.
  return `${share < 1 && text === '100.0' ? '99.9' : text}%`;
}

function ms(value: number | null): string {
  if (value === null) return '-';
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function bytes(number: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(Math.floor(Math.log2(Math.max(1, number)) / 10), units.length - 1);
  const scaled = number / 1024 ** power;
  return `${power === 0 ? Math.round(scaled) : scaled.toFixed(1)} ${units[power]}`;
}
