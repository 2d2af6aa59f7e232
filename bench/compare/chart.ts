/** The results as a chart: a group of bars a row, their length the ratio to the baseline. SVG, for light and dark pages. */
import { type Cell, meetsTarget, type Results, type Row } from './results.ts';

const width = 900;
const left = 330;
const right = 70;
const top = 70;
const bar = 9;
const gap = 14;
/** Ratios beyond are cut off, with their figure beside them. */
const most = 2.5;

/** Rows without a ratio (of memory: without a figure of the baseline) are left out. */
export function renderChart(results: Results): string {
  const peers = results.peers.filter(({ name }) => name !== results.baseline).map(({ name }) => name);
  const rows = results.rows.filter((row) => peers.some((name) => ratioOf(row.cells[name]) !== undefined));
  let y = top;
  const groups = rows.map((row) => {
    const shown = peers.filter(
      (name) => ratioOf(row.cells[name]) !== undefined || row.cells[name]?.status === 'failed',
    );
    const text = group(row, shown, peers, y);
    y += shown.length * bar + gap;
    return text;
  });
  const height = y + 40;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="CPU time as a ratio to ${xmlText(results.baseline)}">
<style>${style(peers.length)}</style>
<rect class="paper" width="${width}" height="${height}" rx="6"/>
<text class="title" x="16" y="26">CPU time (memory) for the same work, as a ratio to ${xmlText(results.baseline)}; shorter is better</text>
${legend(peers)}
${axis(y)}
${groups.join('\n')}
<text class="small" x="16" y="${height - 12}">${xmlText(caption(results))}</text>
</svg>
`;
}

const light = ['#0b6e99', '#b5651d', '#6b7f2a', '#7b5ea7', '#b0436b', '#5a6472', '#a88a12', '#2f7f6f'];
const dark = ['#4fb3dd', '#e09a56', '#a9c04f', '#b79be0', '#e584a8', '#a3afbd', '#dcc04a', '#6fc5b2'];

function style(count: number): string {
  const colours = (list: readonly string[]) =>
    Array.from({ length: count }, (_, index) => `.p${index}{fill:${list[index % list.length]}}`).join('');
  const base = (paper: string, ink: string, faint: string, list: readonly string[]) =>
    `.paper{fill:${paper}}text{fill:${ink}}.value{stroke:${paper}}.grid{stroke:${faint}}.one{stroke:${ink}}.target{stroke:${ink}}.whisker{stroke:${ink}}${colours(list)}`;
  return [
    'text{font:12px system-ui,sans-serif}.title{font-weight:600;font-size:14px}.small{font-size:11px;opacity:.75}',
    '.value{font-size:9px;paint-order:stroke;stroke-width:3px}.grid{stroke-width:1}.one{stroke-width:1.5}.target{stroke-width:2;stroke-dasharray:2 2}.whisker{opacity:.55}',
    base('#ffffff', '#1c2126', '#e3e6ea', light),
    `@media(prefers-color-scheme:dark){${base('#0f1419', '#e4e8ec', '#2c343c', dark)}}`,
  ].join('');
}

function legend(peers: readonly string[]): string {
  let x = 16;
  const entries = peers.map((name, index) => {
    const text = `<rect class="p${index}" x="${x}" y="38" width="10" height="10"/><text x="${x + 14}" y="47">${xmlText(name)}</text>`;
    x += 34 + name.length * 7;
    return text;
  });
  const target = `<line class="target" x1="${x + 4}" x2="${x + 4}" y1="37" y2="49"/><text x="${x + 12}" y="47">penstock’s target</text>`;
  return [...entries, target].join('');
}

function axis(bottom: number): string {
  return [0, 0.5, 1, 1.5, 2, 2.5]
    .map((value) => {
      const at = place(value);
      return `<line class="${value === 1 ? 'one' : 'grid'}" x1="${at}" x2="${at}" y1="${top - 8}" y2="${bottom}"/><text class="small" x="${at}" y="${bottom + 12}" text-anchor="middle">${value}</text>`;
    })
    .join('');
}

function group(row: Row, shown: readonly string[], peers: readonly string[], y: number): string {
  const bars = shown.map((name, index) => oneBar(row.cells[name]!, peers.indexOf(name), y + index * bar));
  const values = shown.map((name, index) => labelOf(row.cells[name]!, y + index * bar));
  const middle = y + (shown.length * bar) / 2;
  const [first, second] = wrapped(row.title);
  const title = second
    ? `<text x="${left - 12}" y="${middle - 2}" text-anchor="end">${xmlText(first)}</text><text x="${left - 12}" y="${middle + 12}" text-anchor="end">${xmlText(second)}</text>`
    : `<text x="${left - 12}" y="${middle + 4}" text-anchor="end">${xmlText(first)}</text>`;
  return title + bars.join('') + targetLine(row, y, shown.length * bar) + values.join('');
}

function oneBar(cell: Cell, colour: number, y: number): string {
  if (cell.status !== 'measured' || cell.ratio === undefined) return '';
  const { median, min, max } = cell.ratio;
  const middle = y + bar / 2 - 0.5;
  const whisker = `<line class="whisker" x1="${place(min)}" x2="${place(max)}" y1="${middle}" y2="${middle}"/>`;
  return `<rect class="p${colour}" x="${left}" y="${y}" width="${place(median) - left}" height="${bar - 1}"/>${whisker}`;
}

function labelOf(cell: Cell, y: number): string {
  if (cell.status === 'failed')
    return `<text class="value" x="${left + 4}" y="${y + bar - 1.5}">failed</text>`;
  if (cell.status !== 'measured' || cell.ratio === undefined) return '';
  const { median, max } = cell.ratio;
  return `<text class="value" x="${place(Math.max(median, max)) + 5}" y="${y + bar - 1.5}">${median.toFixed(2)}</text>`;
}

/** A target of memory is no ratio, and has no line. */
function targetLine(row: Row, y: number, height: number): string {
  if (row.target === undefined || row.unit === 'idle connection') return '';
  const at = place(row.target);
  return `<line class="target" x1="${at}" x2="${at}" y1="${y - 3}" y2="${y + height + 2}"/>`;
}

function place(ratio: number): number {
  return Math.round((left + (Math.min(ratio, most) / most) * (width - left - right)) * 10) / 10;
}

function ratioOf(cell: Cell | undefined): number | undefined {
  return cell?.status === 'measured' ? cell.ratio?.median : undefined;
}

/** In two lines where it is long. */
function wrapped(title: string): [string, string | undefined] {
  if (title.length <= 48) return [title, undefined];
  const at = title.lastIndexOf(' ', 44);
  return [title.slice(0, at), title.slice(at + 1)];
}

function caption({ date, rounds, machine, rows, peers }: Results): string {
  const judged = peers.filter(({ kind }) => kind === 'penstock');
  const verdicts = judged.map(({ name }) => {
    const all = rows.map((row) => meetsTarget(row, row.cells[name])).filter((met) => met !== undefined);
    return `${name} meets ${all.filter(Boolean).length} of ${all.length} targets`;
  });
  return `${date.slice(0, 10)} · ${machine.cpu} · medians and extremes of ${rounds} rounds · ${verdicts.join(', ')}`;
}

function xmlText(text: string): string {
  return text.replace(/[<>&"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
