/** The results as Markdown: whole for bench/results, and one table for the README. */
import { type Cell, meetsTarget, type PeerRecord, type Results, type Row } from './results.ts';
import type { Summary } from './statistics.ts';

/** Everything that is in the results. */
export function renderMarkdown(results: Results): string {
  const { peers, baseline } = results;
  const of = ({ status, ...cell }: Cell, render: (cell: Measured) => string) =>
    status === 'measured' ? render(cell as Measured) : status === 'failed' ? 'failed' : '';
  const faults = results.rows.flatMap((row) =>
    Object.entries(row.cells).flatMap(([name, cell]) =>
      cell.status === 'failed' ? [`- **${row.title}**, ${name}: ${cell.reason}`] : [],
    ),
  );
  return [
    '# penstock beside other proxies\n',
    introduction(results),
    '## CPU (memory), as a ratio to the baseline\n',
    'Median of the ratios of each round, with the lowest and the highest.\n',
    ratioTable(results),
    '\n![The ratios as a chart](latest.svg)\n',
    '## CPU (memory), as measured\n',
    'Median of the rounds, with the lowest and the highest: microseconds a connection, message, transaction or MiB, KiB an idle connection.\n',
    table(
      ['work', ...names(peers)],
      results.rows.map((row) => [
        row.title,
        ...cellsOf(row, peers, (cell) => of(cell, (one) => absolute(row, one))),
      ]),
    ),
    '\n## Rate and latency, as the load generator saw them\n',
    'Units a second, and the median and the 99th percentile in milliseconds of a whole connection (of a message). Load generator and upstreams share a core, and mostly it is they that set the pace: differences show, absolute values mean little.\n',
    table(
      ['work', ...names(peers)],
      results.rows.map((row) => [row.title, ...cellsOf(row, peers, (cell) => of(cell, pace))]),
    ),
    faults.length > 0 ? `\n## What failed\n\n${faults.join('\n')}\n` : '',
    '\n## What each logs\n',
    table(
      ['peer', 'logs', 'lines a connection'],
      peers.map((peer) => [peer.name, peer.logs, linesOf(peer, results.rows)]),
    ),
    `\nThe baseline is ${baseline}.`,
  ].join('\n');
}

/** The table of ratios, for the README. */
export function renderReadme(results: Results): string {
  return [
    `CPU time of the proxy’s processes for the same work, as a ratio to ${results.baseline} with one thread (1.0 is as much; less is better): median of`,
    `${results.rounds} rounds, with the lowest and the highest. Memory is in KiB. How it is measured, what each logs, and more:`,
    '[docs/performance.md](docs/performance.md), [bench/results/latest.md](bench/results/latest.md).\n',
    ratioTable(results),
    '\n![The ratios as a chart](bench/results/latest.svg)\n',
    `${results.date.slice(0, 10)}, ${machineLine(results)}: ${results.peers.map(versionLine).join('; ')}.${missingLine(results)}`,
  ].join('\n');
}

/** Replaces what stands between the markers. Throws if a text has no markers. */
export function betweenMarkers(text: string, content: string): string {
  const [begin, end] = ['<!-- bench:begin -->', '<!-- bench:end -->'];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from === -1 || to < from) throw new Error(`expected ${begin} and ${end}`);
  return `${text.slice(0, from + begin.length)}\n${content}\n${text.slice(to)}`;
}

type Measured = Extract<Cell, { status: 'measured' }>;

function introduction(results: Results): string {
  const { date, rounds, share, pinned, missing } = results;
  const how = [
    `${date}, ${machineLine(results)}`,
    `${rounds} rounds${share === 1 ? '' : `, with ${Math.round(share * 100)}% of the usual connections: **too few to be quoted**`}`,
    pinned
      ? 'peers on core 0, load generator and upstreams on core 1'
      : 'not pinned: peers, load generator and upstreams share all cores',
    'a connection is its handshake, 64 bytes echoed by the upstream, and its close; a resumed one uses the same ticket as the others',
    'all peers run all the time; those whose turn it is not are idle',
    'before the first round each peer has one of each workload that does not count; memory is taken on fresh processes, three times at most',
  ];
  return [
    ...how.map((line) => `- ${line}`),
    ...results.peers.map((peer) => `- ${versionLine(peer)}`),
    ...missing.map(({ name, reason }) => `- **${name} is left out**: ${reason}`),
    '',
  ].join('\n');
}

function ratioTable({ rows, peers, baseline }: Results): string {
  const others = peers.filter(({ name }) => name !== baseline);
  const judged = others.filter(({ kind }) => kind === 'penstock');
  const line = (row: Row) => [
    row.title,
    row.target === undefined ? '' : `≤ ${row.target}${row.unit === 'idle connection' ? ' KiB' : ''}`,
    ...others.map((peer) => {
      const mark = judged.includes(peer) ? markOf(row, row.cells[peer.name]) : '';
      return `${relative(row, row.cells[peer.name])}${mark}`;
    }),
  ];
  return table(['work', 'target', ...names(others)], rows.map(line));
}

function markOf(row: Row, cell: Cell | undefined): string {
  const meets = meetsTarget(row, cell);
  return meets === undefined ? '' : meets ? ' ✓' : ' ✗';
}

/** The ratio; of memory the figure, since that is what its target is of. Where there is no baseline, the figure too. */
function relative(row: Row, cell: Cell | undefined): string {
  if (cell === undefined || cell.status === 'unserved') return '–';
  if (cell.status === 'failed') return 'failed';
  if (row.unit === 'idle connection') return `${absolute(row, cell)} KiB`;
  return cell.ratio === undefined ? `(${absolute(row, cell)} µs)` : spread(cell.ratio, 2);
}

function absolute({ unit }: Row, { perUnit }: Measured): string {
  const scale = { connection: 1e3, message: 1e3, transaction: 1e3, MiB: 1e3, 'idle connection': 1024 }[unit];
  const { median, min, max } = perUnit;
  const scaled = { median: median / scale, min: min / scale, max: max / scale };
  return spread(scaled, scaled.median < 100 ? 1 : 0);
}

function pace({ perSecond, latency }: Measured): string {
  if (perSecond === undefined) return '';
  const times = latency === undefined ? '' : ` · ${latency.p50.toFixed(2)} · ${latency.p99.toFixed(2)}`;
  return `${Math.round(perSecond)}${times}`;
}

function spread({ median, min, max }: Pick<Summary, 'median' | 'min' | 'max'>, digits: number): string {
  const [middle, low, high] = [median, min, max].map((value) => value.toFixed(digits));
  return low === high ? middle! : `${middle} (${low}–${high})`;
}

/** From a row of whole connections: of those, each should leave its line. */
function linesOf({ name }: PeerRecord, rows: readonly Row[]): string {
  const lines = rows.flatMap((row) => {
    const cell = row.cells[name];
    return cell?.status === 'measured' && row.unit === 'connection' ? [cell.logLines] : [];
  });
  return lines.length === 0 ? '' : [...new Set(lines.map((value) => value.toFixed(1)))].join(', ');
}

function cellsOf(row: Row, peers: readonly PeerRecord[], render: (cell: Cell) => string): string[] {
  return peers.map(({ name }) => {
    const cell = row.cells[name];
    return cell === undefined || cell.status === 'unserved' ? '–' : render(cell);
  });
}

function names(peers: readonly PeerRecord[]): string[] {
  return peers.map(({ name }) => name);
}

export function machineLine({ machine }: Pick<Results, 'machine'>): string {
  const { cpu, cores, memoryGiB, kernel, virtual } = machine;
  return `${cpu}, ${cores} cores (virtual: ${virtual}), ${memoryGiB} GiB, Linux ${kernel}`;
}

function versionLine({ name, kind, version, library }: PeerRecord): string {
  return `${name}${name === kind ? '' : ` (${kind})`} ${version}, ${library}`;
}

function missingLine({ missing }: Results): string {
  return missing.length === 0 ? '' : ` Left out: ${missing.map(({ name }) => name).join(', ')}.`;
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
