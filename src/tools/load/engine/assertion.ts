/**
 * Assertions on measurements, for pipelines: `p99<20ms`, `handshake.p99<=15ms`, `rate>500`, `resumed==100%`.
 */
import type { Figures, Latency } from './figures.ts';
import { type Stage, stages } from './tally.ts';

export type Assertion = {
  readonly expression: string;
  readonly judge: (figures: Figures) => AssertionVerdict;
};

/** `message` says what was measured, and by how much it missed. */
export type AssertionVerdict = {
  readonly expression: string;
  readonly ok: boolean;
  readonly message: string;
};

/** Parses an assertion; returns a string if something is wrong with it. */
export function parseAssertion(expression: string): Assertion | string {
  const [, subject = '', operator = '', text = ''] =
    /^\s*([a-z0-9_.A-Z]+)\s*(<=|>=|==|!=|<|>)\s*(\S+)\s*$/.exec(expression) ?? [];
  const holds = comparisons[operator];
  if (!holds) return "expected NAME OPERATOR VALUE, such as 'p99<20ms' or 'errors==0'";
  const measure = measureOf(subject, text);
  if (measure === undefined) return `there is no ${subject}; expected ${subjects}`;
  const limit = measure.unit.parse(text);
  if (limit === undefined) return `${text}: expected ${measure.unit.example}`;
  return { expression, judge: (figures) => judge(expression, measure, operator, limit, figures) };
}

function judge(
  expression: string,
  { read, unit }: Measure,
  operator: string,
  limit: number,
  figures: Figures,
): AssertionVerdict {
  const value = read(figures);
  if (value === null) return { expression, ok: false, message: 'nothing was measured' };
  const ok = comparisons[operator]?.(value, limit) ?? false;
  const by = ok || value === limit ? '' : `: off by ${unit.format(Math.abs(value - limit))}`;
  return { expression, ok, message: `it is ${unit.format(value)}${by}` };
}

const comparisons: Readonly<Record<string, (value: number, limit: number) => boolean>> = {
  '<': (value, limit) => value < limit,
  '<=': (value, limit) => value <= limit,
  '>': (value, limit) => value > limit,
  '>=': (value, limit) => value >= limit,
  '==': (value, limit) => value === limit,
  '!=': (value, limit) => value !== limit,
};

type Unit = {
  readonly example: string;
  readonly parse: (text: string) => number | undefined;
  readonly format: (value: number) => string;
};

type Measure = { readonly unit: Unit; readonly read: (figures: Figures) => number | null };

const percentiles = ['p50', 'p90', 'p95', 'p99', 'p99.9', 'max', 'mean'] as const satisfies (keyof Latency)[];
const rates = ['rate', 'handshakes_per_s', 'messages_per_s'] as const;
const byteRates = ['bytes_up_per_s', 'bytes_down_per_s'] as const;
const counts = ['connections', 'unfinished', 'handshakes', 'messages'] as const;
const subjects = `${percentiles.join(', ')} (also of a stage: ${stages.join(', ')}, as in handshake.p99), ${[...rates, ...byteRates, ...counts].join(', ')}, errors, errors.KIND or resumed`;

function measureOf(subject: string, text: string): Measure | undefined {
  const latency = latencyOf(subject);
  if (latency) return latency;
  const rate = rates.find((name) => name === subject);
  if (rate) return { unit: perSecond, read: (figures) => figures[rate] };
  const byteRate = byteRates.find((name) => name === subject);
  if (byteRate) return { unit: bytesPerSecond, read: (figures) => figures[byteRate] };
  const counted = counts.find((name) => name === subject);
  if (counted) return { unit: plain, read: (figures) => figures[counted] };
  if (subject === 'resumed') return { unit: percent, read: ({ resumed }) => inPercent(resumed.share) };
  const [, kind] = /^errors(?:\.(\w+))?$/.exec(subject) ?? [];
  if (kind === undefined && subject !== 'errors') return undefined;
  const errors = ({ errors }: Figures) => (kind === undefined ? errors.total : (errors.kinds[kind] ?? 0));
  if (!text.endsWith('%')) return { unit: plain, read: errors };
  return {
    unit: percent,
    read(figures) {
      const all = figures.connections + figures.errors.total;
      return all === 0 ? null : inPercent(errors(figures) / all);
    },
  };
}

/** A latency of the whole connection, unless a stage is named. */
function latencyOf(subject: string): Measure | undefined {
  const dot = subject.indexOf('.');
  const named = stages.find((stage) => stage === subject.slice(0, dot));
  const stage: Stage = named ?? 'whole';
  const rest = named === undefined ? subject : subject.slice(dot + 1);
  const which = percentiles.find((name) => name === rest);
  return which && { unit: milliseconds, read: ({ latency_ms }) => latency_ms[stage][which] };
}

const milliseconds: Unit = {
  example: 'a time such as 20ms, 500us or 1.5s',
  parse: (text) => scaled(text, { us: 1e-3, ms: 1, s: 1e3 }),
  format: (value) => `${round(value)} ms`,
};
const perSecond: Unit = {
  example: 'a number such as 500',
  parse: (text) => scaled(text, { '': 1, '/s': 1 }),
  format: (value) => `${round(value)}/s`,
};
const bytesPerSecond: Unit = {
  example: 'a size such as 1000000 or 100MiB',
  parse: (text) => scaled(text.replace(/\/s$/, ''), { '': 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }),
  format: (value) => `${round(value / 2 ** 20)} MiB/s`,
};
const plain: Unit = {
  example: 'a number',
  parse: (text) => scaled(text, { '': 1 }),
  format: (value) => String(value),
};
const percent: Unit = {
  example: 'a share such as 100%',
  parse: (text) => scaled(text, { '%': 1 }),
  format: (value) => `${round(value)}%`,
};

function inPercent(share: number | null): number | null {
  return share === null ? null : share * 100;
}

function scaled(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const [, number, unit = 'none'] = /^(\d+(?:\.\d+)?)(\D*)$/.exec(text) ?? [];
  const factor = units[unit];
  return factor === undefined ? undefined : Number(number) * factor;
}

/** Three significant digits, without an exponent. */
function round(value: number): string {
  return String(value >= 100 ? Math.round(value) : Number(value.toPrecision(3)));
}
