/** The counts as Markdown: a column a kind, `penstock / bare` in each cell. */
import type { Kind } from './kinds.ts';
import { detail, type Measured } from './measure.ts';

const titles: Readonly<Record<string, string>> = {
  promises: 'promises',
  next_ticks: '`nextTick`s',
  microtasks: 'microtasks queued',
  immediates: 'immediates',
  timers: 'timers made',
  timers_rearmed: 'timers set back',
  listeners: 'listeners added',
  handles_and_requests: 'handles and requests',
  heap_objects: 'objects on the heap',
  heap_bytes: 'bytes on the heap',
  system_calls: 'system calls',
  event_waits: 'waits for events',
};

/** With what handles, requests and system calls are made of if `isWhole`; only what is there for some kind. */
export function tableOf(kinds: readonly Kind[], columns: readonly Measured[], isWhole: boolean): string {
  const names = new Set(columns.flatMap((measured) => [...measured.values()].flatMap(Object.keys)));
  const rows = [...Object.keys(titles), ...(isWhole ? [...names].filter(isDetail).sort() : [])];
  const cell = (name: string, { id }: Kind) =>
    columns.map((measured) => figure(name, measured.get(id)?.[name] ?? 0)).join(' / ');
  const lines = rows
    .map((name) => [titles[name] ?? name, ...kinds.map((kind) => cell(name, kind))])
    .filter(([, ...cells]) => cells.some((text) => /[1-9]/.test(text)));
  const header = ['each connection', ...kinds.map(({ title }) => title)];
  return [header, header.map(() => '---'), ...lines].map((line) => `| ${line.join(' | ')} |`).join('\n');
}

function isDetail(name: string): boolean {
  return name.startsWith(detail);
}

export function figure(name: string, count: number): string {
  return rounded(name, count).toLocaleString('en-GB');
}

/** As precise as it is the same in each run. */
export function rounded(name: string, count: number): number {
  return name.startsWith('heap_') ? Math.round(count) : Math.round(count * 10) / 10;
}
