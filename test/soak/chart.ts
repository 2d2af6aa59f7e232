/** Curves over time as SVG: panels one below the other, for light and dark pages. */
export type Curve = {
  /** In the legend; '' for none. */
  readonly name: string;
  readonly points: readonly { readonly t: number; readonly value: number }[];
};
export type Panel = { readonly title: string; readonly unit: string; readonly curves: readonly Curve[] };
/** A vertical line through all panels. */
export type Mark = { readonly t: number; readonly kind: number };

const width = 900;
const left = 64;
const right = 16;
const panelHeight = 150;
const panelGap = 64;

export function renderChart(
  title: string,
  panels: readonly Panel[],
  marks: readonly Mark[],
  markNames: readonly string[],
): string {
  const times = panels.flatMap(({ curves }) => curves.map(({ points }) => points.at(-1)?.t ?? 0));
  const seconds = Math.max(60, ...times, ...marks.map(({ t }) => t));
  const top = 56;
  const height = top + panels.length * (panelHeight + panelGap) + 6;
  const parts = panels.map((panel, index) =>
    renderPanel(panel, top + index * (panelHeight + panelGap) + 24, seconds, marks),
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${xmlText(title)}">
<style>${style()}</style>
<rect class="paper" width="${width}" height="${height}" rx="6"/>
<text class="title" x="16" y="26">${xmlText(title)}</text>
${markLegend(markNames)}
${parts.join('\n')}
</svg>
`;
}

const light = ['#0b6e99', '#b5651d', '#6b7f2a', '#7b5ea7', '#b0436b', '#5a6472', '#a88a12', '#2f7f6f'];
const dark = ['#4fb3dd', '#e09a56', '#a9c04f', '#b79be0', '#e584a8', '#a3afbd', '#dcc04a', '#6fc5b2'];
/** Of marks, apart from those of curves by their dashes. */
const dashes = ['2 3', '7 4', '1 5'];

function style(): string {
  const colours = (list: readonly string[]) =>
    list.map((colour, index) => `.c${index}{stroke:${colour}}.k${index}{fill:${colour}}`).join('');
  const base = (paper: string, ink: string, faint: string, list: readonly string[]) =>
    `.paper{fill:${paper}}text{fill:${ink}}.grid{stroke:${faint}}.mark{stroke:${ink}}${colours(list)}`;
  return [
    'text{font:12px system-ui,sans-serif}.title{font-weight:600;font-size:14px}.small{font-size:11px}.end{text-anchor:end}.mid{text-anchor:middle}',
    '.grid{stroke-width:1}.curve{fill:none;stroke-width:1.5;stroke-linejoin:round}.mark{stroke-width:1;opacity:.6}',
    base('#ffffff', '#1c2126', '#e3e6ea', light),
    `@media(prefers-color-scheme:dark){${base('#0f1419', '#e4e8ec', '#2c343c', dark)}}`,
  ].join('');
}

function markLegend(names: readonly string[]): string {
  let x = 16;
  return names
    .map((name, kind) => {
      const text = `<line class="mark" stroke-dasharray="${dashes[kind]}" x1="${x}" x2="${x + 22}" y1="44" y2="44"/><text class="small" x="${x + 28}" y="48">${xmlText(name)}</text>`;
      x += 48 + name.length * 6.5;
      return text;
    })
    .join('');
}

function renderPanel(
  { title, unit, curves }: Panel,
  y: number,
  seconds: number,
  marks: readonly Mark[],
): string {
  const most = Math.max(0, ...curves.flatMap(({ points }) => points.map(({ value }) => value)));
  const step = niceStep(most / 4);
  const ceiling = Math.max(step, Math.ceil(most / step) * step);
  const atX = (t: number) => round(left + (t / seconds) * (width - left - right));
  const atY = (value: number) => round(y + panelHeight - (value / ceiling) * panelHeight);
  const lines = Array.from({ length: Math.round(ceiling / step) + 1 }, (_, index) => index * step).map(
    (value) =>
      `<line class="grid" x1="${left}" x2="${width - right}" y1="${atY(value)}" y2="${atY(value)}"/><text class="small end" x="${left - 6}" y="${atY(value) + 4}">${Number(value.toPrecision(3))}</text>`,
  );
  const minuteStep = [1, 2, 5, 10, 15, 30, 60, 120, 360].find((it) => seconds / 60 / it <= 13) ?? 1440;
  const minutes = Array.from(
    { length: Math.floor(seconds / 60 / minuteStep) + 1 },
    (_, index) => index * minuteStep,
  );
  const ticks = minutes.map(
    (minute) =>
      `<text class="small mid" x="${atX(minute * 60)}" y="${y + panelHeight + 15}">${minute}${minute === 0 ? ' min' : ''}</text>`,
  );
  const vertical = marks.map(
    ({ t, kind }) =>
      `<line class="mark" stroke-dasharray="${dashes[kind]}" x1="${atX(t)}" x2="${atX(t)}" y1="${y}" y2="${y + panelHeight}"/>`,
  );
  const drawn = curves.map(
    ({ points }, index) =>
      `<polyline class="curve c${index % light.length}" points="${points.map(({ t, value }) => `${atX(t)},${atY(value)}`).join(' ')}"/>`,
  );
  return `<text x="16" y="${y - 12}">${xmlText(title)} <tspan class="small">(${xmlText(unit)})</tspan></text>${legend(curves, y - 12)}${lines.join('')}${ticks.join('')}${vertical.join('')}${drawn.join('')}`;
}

function legend(curves: readonly Curve[], y: number): string {
  let x = width - right;
  const entries = [...curves.entries()].reverse().map(([index, { name }]) => {
    if (name === '') return '';
    x -= 22 + name.length * 6.5;
    return `<rect class="k${index % light.length}" x="${x}" y="${y - 9}" width="10" height="10"/><text class="small" x="${x + 14}" y="${y}">${xmlText(name)}</text>`;
  });
  return entries.join('');
}

/** 1, 2 or 5 times a power of ten, at least that much. */
function niceStep(least: number): number {
  if (!(least > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 5].find((it) => it * power >= least) ?? 10);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function xmlText(text: string): string {
  return text.replace(/[<>&"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
