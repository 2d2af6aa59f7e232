/** How long changes took, as a chart: the share that was served within a time. SVG, for light and dark pages. */
const width = 720;
const height = 260;
const area = { left: 56, right: 700, top: 44, bottom: 216 };

/** `sorted` in milliseconds, shortest first. */
export function renderDelays(sorted: readonly number[], caption: string): string {
  const longest = Math.max(250, ...sorted);
  const most = Math.ceil(longest / 50) * 50;
  const x = (ms: number) => area.left + ((area.right - area.left) * ms) / most;
  const y = (share: number) => area.bottom - (area.bottom - area.top) * share;
  const points = sorted.map(
    (ms, index) => `${x(ms).toFixed(1)},${y((index + 1) / sorted.length).toFixed(1)}`,
  );
  const step = most <= 500 ? 50 : Math.ceil(most / 500) * 50;
  const ticks = Array.from({ length: Math.floor(most / step) + 1 }, (_, index) => index * step);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="How long until a change in etcd is served">
<style>text{font:12px system-ui,sans-serif}.title{font-weight:600;font-size:14px}.small{font-size:11px;opacity:.75}.line{fill:none;stroke-width:2}${colours('#ffffff', '#1c2126', '#e3e6ea', '#0b6e99')}@media(prefers-color-scheme:dark){${colours('#0f1419', '#e4e8ec', '#2c343c', '#4fb3dd')}}</style>
<rect class="paper" width="${width}" height="${height}" rx="6"/>
<text class="title" x="16" y="26">From the put in etcd until a machine serves it: share of all</text>
${ticks.map((ms) => `<line class="grid" x1="${x(ms)}" x2="${x(ms)}" y1="${area.top}" y2="${area.bottom}"/><text class="small" x="${x(ms)}" y="${area.bottom + 14}" text-anchor="middle">${ms} ms</text>`).join('\n')}
${[0, 0.5, 0.9, 0.99].map((share) => `<line class="grid" x1="${area.left}" x2="${area.right}" y1="${y(share)}" y2="${y(share)}"/><text class="small" x="${area.left - 6}" y="${y(share) + 4}" text-anchor="end">${share * 100} %</text>`).join('\n')}
<polyline class="line" points="${points.join(' ')}"/>
<text class="small" x="16" y="${height - 10}">${caption}, three machines</text>
</svg>
`;
}

function colours(paper: string, ink: string, faint: string, line: string): string {
  return `.paper{fill:${paper}}text{fill:${ink}}.grid{stroke:${faint}}.line{stroke:${line}}`;
}
