/** Formats a status as lines for a terminal. */
import type { EndpointStatus, ListenerStatus, Status } from '../../observe/status.ts';
import { bytes, count, perSecond, span } from '../../observe/units.ts';
import { formatTable } from '../terminal/table.ts';
import { wrap } from '../terminal/text.ts';
import { describeCluster, machineHeader } from './cluster.ts';

export type Screen = { readonly columns: number; readonly rows: number; readonly color: boolean };

type Tone = 'plain' | 'head' | 'warn' | 'bad';
type Line = { readonly text: string; readonly tone: Tone };
type Row = { readonly cells: readonly string[]; readonly tone?: Tone };

const codes: Record<Tone, string> = { plain: '', head: '\x1b[2m', warn: '\x1b[33m', bad: '\x1b[31m' };

/** All lines, none wider than the screen. `before` is an earlier status, for rates. */
export function frameLines(now: Status, before: Status | undefined, screen: Screen): string[] {
  const lines = [
    ...summary(now, before),
    ...problems(now, screen.columns),
    ...listeners(now, before, screen.columns),
    ...endpoints(now, screen.columns),
    ...endings(now, before, screen.columns),
    ...expiries(now, screen.columns),
    ...workers(now, before, screen.columns),
    ...cluster(now, screen.columns),
    ...lastReload(now, screen.columns),
  ];
  return lines.map(({ text, tone }) => paint(text.slice(0, screen.columns), tone, screen.color));
}

/** As many lines as fit on the screen; the last one counts those left out. */
export function cutToHeight(lines: readonly string[], { rows, columns }: Screen): string[] {
  if (lines.length <= rows) return [...lines];
  const shown = lines.slice(0, Math.max(0, rows - 1));
  return [...shown, `… and ${lines.length - shown.length} lines more`.slice(0, columns)];
}

function paint(text: string, tone: Tone, color: boolean): string {
  return color && codes[tone] !== '' ? `${codes[tone]}${text}\x1b[0m` : text;
}

function summary(now: Status, before: Status | undefined): Line[] {
  const state = now.draining ? 'draining' : now.ready ? 'ready' : 'not ready';
  const up = span(Date.parse(now.at) - Date.parse(now.started_at));
  const rate = (pick: (one: ListenerStatus) => number) =>
    rateOf(now, before, (status) => sum(status.listeners, pick));
  const figures = [
    `${count(sum(now.listeners, ({ active }) => active))} open`,
    `${perSecond(rate(({ total }) => total))} new/s`,
    `${bytes(rate((one) => one.bytes.in))}/s in`,
    `${bytes(rate((one) => one.bytes.out))}/s out`,
    `${perSecond(rate(({ outcomes }) => outcomes.error))} errors/s`,
    `${perSecond(rate(({ outcomes }) => outcomes.refused))} refused/s`,
  ];
  const tone = state === 'ready' ? 'plain' : state === 'draining' ? 'warn' : 'bad';
  return [
    { text: `penstock ${now.version}, ${state}, up ${up}, process ${now.pid}, Node ${now.node}`, tone },
    { text: figures.join('  '), tone: 'plain' },
  ];
}

const shownProblems = 5;

function problems({ problems: all = [] }: Status, columns: number): Line[] {
  const lines = all
    .slice(0, shownProblems)
    .flatMap(({ severity, text }) =>
      wrap(`! ${text}`, columns).map((line): Line => ({ text: line, tone: severity })),
    );
  const more = all.length - shownProblems;
  return more > 0 ? [...lines, { text: `! and ${more} more`, tone: 'warn' }] : lines;
}

function listeners(now: Status, before: Status | undefined, columns: number): Line[] {
  const rows = now.listeners.map((one) => {
    const rate = (pick: (one: ListenerStatus) => number) =>
      rateOf(now, before, ({ listeners }) =>
        sum(
          listeners.filter(({ name }) => name === one.name),
          pick,
        ),
      );
    return {
      cells: [
        one.name,
        count(one.active),
        perSecond(rate(({ total }) => total)),
        bytes(rate((it) => it.bytes.in)),
        bytes(rate((it) => it.bytes.out)),
        count(one.outcomes.error),
        count(one.outcomes.refused),
        count(one.outcomes.probe),
        one.addresses.join(', ') || 'removed',
      ],
    };
  });
  const header = ['LISTENER', 'OPEN', 'NEW/S', 'IN/S', 'OUT/S', 'ERRORS', 'REFUSED', 'PROBES', 'ADDRESSES'];
  return table(header, rows, columns, [1, 2, 3, 4, 5, 6, 7]);
}

function endpoints(now: Status, columns: number): Line[] {
  const rows = now.upstreams.flatMap(({ name, endpoints }) =>
    endpoints.map((one): Row => {
      const ago = (iso: string) => span(Date.parse(now.at) - Date.parse(iso));
      const error = one.last_error ?? '';
      return {
        cells: [
          name,
          one.label,
          stateOf(one, now.at),
          one.since === null ? '-' : ago(one.since),
          count(one.active),
          one.last_error_at === undefined ? error : `${ago(one.last_error_at)} ago: ${error}`,
        ],
        tone: one.state === 'down' || one.state === 'ejected' ? 'bad' : one.failing ? 'warn' : 'plain',
      };
    }),
  );
  return table(['UPSTREAM', 'ENDPOINT', 'STATE', 'FOR', 'OPEN', 'LAST ERROR'], rows, columns, [4]);
}

/** The state, with what it is waiting for. */
function stateOf({ state, share, until, drained }: EndpointStatus, at: string): string {
  if (drained) return `${state}, drained`;
  if (share !== undefined) return `slow start ${Math.floor(share * 100)} %`;
  if (until !== undefined) return `ejected, ${span(Date.parse(until) - Date.parse(at))} left`;
  return state;
}

/** The ten codes with which most connections ended. */
function endings(now: Status, before: Status | undefined, columns: number): Line[] {
  const rows = now.listeners
    .flatMap(({ name, errors }) =>
      errors.map(({ side, code, count: many, last }) => ({
        many,
        cells: [
          code,
          count(many),
          perSecond(rateOf(now, before, (status) => countOf(status, name, side, code))),
          name,
          side,
          last ? `${span(Date.parse(now.at) - Date.parse(last.at))} ago, ${last.client}: ${last.error}` : '-',
        ],
      })),
    )
    .sort((a, b) => b.many - a.many);
  const header = ['ENDED WITH', 'COUNT', '/S', 'LISTENER', 'SIDE', 'LAST'];
  return table(header, rows.slice(0, 10), columns, [1, 2]);
}

function countOf(status: Status, listener: string, side: string, code: string): number {
  const errors = status.listeners.find(({ name }) => name === listener)?.errors ?? [];
  return errors.find((error) => error.side === side && error.code === code)?.count ?? 0;
}

/** Soonest first. */
function expiries(now: Status, columns: number): Line[] {
  const certificates = now.certificates.map((one) => ({ ...one, what: one.names.join(', ') }));
  const authorities = now.authorities.map((one) => ({ ...one, what: 'authority' }));
  const lists = now.authorities.flatMap(({ name, crl_next_update: expires, crl_days_left: days_left }) =>
    expires === null || days_left === null ? [] : [{ name, expires, days_left, what: 'revocation list' }],
  );
  const rows = [...certificates, ...authorities, ...lists]
    .sort((a, b) => a.days_left - b.days_left)
    .map(
      ({ name, expires, days_left: days, what }): Row => ({
        cells: [name, days < 0 ? 'expired' : `${days}`, expires.slice(0, 10), what],
        tone: days < 3 ? 'bad' : days < 21 ? 'warn' : 'plain',
      }),
    );
  return table(['EXPIRES', 'DAYS', 'DATE', 'WHAT'], rows, columns, [1]);
}

function workers(now: Status, before: Status | undefined, columns: number): Line[] {
  const rows = now.workers.map((one): Row => {
    const cpu = rateOf(
      now,
      before,
      ({ workers }) => workers.find(({ pid }) => pid === one.pid)?.cpu_seconds ?? 0,
    );
    return {
      cells: [
        `${one.id}`,
        `${one.pid}`,
        one.state,
        count(one.connections),
        cpu === undefined ? '-' : `${Math.round(cpu * 100)} %`,
        bytes(one.rss),
      ],
      tone: one.state === 'ready' ? 'plain' : 'warn',
    };
  });
  return table(['WORKER', 'PROCESS', 'STATE', 'OPEN', 'CPU', 'MEMORY'], rows, columns, [3, 4, 5]);
}

function cluster({ cluster: told }: Status, columns: number): Line[] {
  if (told === undefined) return [];
  const { sentences, machines } = describeCluster(told);
  const rows = machines.map(({ cells, isBad }): Row => ({ cells, tone: isBad ? 'bad' : 'plain' }));
  return [
    ...table(machineHeader, rows, columns, [2, 3]),
    blank,
    ...sentences.flatMap(({ text, isBad }) =>
      wrap(text, columns).map((line): Line => ({ text: line, tone: isBad ? 'bad' : 'plain' })),
    ),
  ];
}

function lastReload({ last_reload: last }: Status, columns: number): Line[] {
  if (last === null) return [];
  const at = last.at.slice(0, 19).replace('T', ' ');
  if (last.ok) return [blank, { text: `The last reload, ${at} UTC, succeeded.`, tone: 'plain' }];
  return [
    blank,
    { text: `The last reload, ${at} UTC, failed; what was served before still is:`, tone: 'bad' },
    ...last.faults
      .flatMap((fault) => wrap(fault, columns - 2))
      .map((text): Line => ({ text: `  ${text}`, tone: 'bad' })),
  ];
}

const blank: Line = { text: '', tone: 'plain' };

/** A blank line, the header and the rows; nothing without rows. `right` are the columns of numbers. */
function table(
  header: readonly string[],
  rows: readonly Row[],
  columns: number,
  right: readonly number[],
): Line[] {
  if (rows.length === 0) return [];
  const all = [header, ...rows.map(({ cells }) => cells)];
  const widths = header.map((_, column) => Math.max(...all.map((cells) => cells[column]?.length ?? 0)));
  const aligned = all.map((cells) =>
    cells.map((cell, column) => (right.includes(column) ? cell.padStart(widths[column] ?? 0) : cell)),
  );
  const [head = [], ...body] = aligned;
  const lines = formatTable(head, body, [], columns).trimEnd().split('\n');
  return [
    blank,
    ...lines.map(
      (text, index): Line => ({ text, tone: index === 0 ? 'head' : (rows[index - 1]?.tone ?? 'plain') }),
    ),
  ];
}

/** Growth per second; undefined without an earlier status, or if counters were reset. */
function rateOf(
  now: Status,
  before: Status | undefined,
  pick: (status: Status) => number,
): number | undefined {
  if (before === undefined || before.started_at !== now.started_at) return undefined;
  const seconds = (Date.parse(now.at) - Date.parse(before.at)) / 1000;
  const grown = pick(now) - pick(before);
  return seconds > 0 && grown >= 0 ? grown / seconds : undefined;
}

function sum<T>(list: readonly T[], pick: (one: T) => number): number {
  return list.reduce((total, one) => total + pick(one), 0);
}
