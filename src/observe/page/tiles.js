/* The figures at the top, each with what it was over the last minutes. */
import { byId, element, setText } from './dom.js';
import { bytes, count, perSecond, rateOf, span, sum } from './format.js';

const kept = 60;

const tiles = [
  { title: 'New connections/s', rate: ({ total, outcomes }) => total - outcomes.probe, show: perSecond },
  { title: 'Open connections', value: ({ active }) => active, show: count },
  { title: 'From clients/s', rate: (one) => one.bytes.in, show: bytes },
  { title: 'To clients/s', rate: (one) => one.bytes.out, show: bytes },
  {
    title: 'Errors and refusals/s',
    rate: ({ outcomes }) => outcomes.error + outcomes.refused,
    show: perSecond,
  },
  { title: 'Probes/s', rate: ({ outcomes }) => outcomes.probe, show: perSecond },
];

const svg = (name) => document.createElementNS('http://www.w3.org/2000/svg', name);

export function makeTiles() {
  for (const tile of tiles) {
    const box = byId('tiles').appendChild(element('div'));
    box.append(element('dt', '', tile.title));
    tile.shown = box.appendChild(element('dd', '', '–'));
    const chart = box.appendChild(svg('svg'));
    chart.setAttribute('viewBox', `0 0 ${kept - 1} 20`);
    chart.setAttribute('preserveAspectRatio', 'none');
    chart.setAttribute('aria-hidden', 'true');
    tile.area = chart.appendChild(svg('polygon'));
    tile.line = chart.appendChild(svg('polyline'));
    tile.scale = box.appendChild(element('dd', 'scale'));
    tile.history = [];
  }
}

export function fillTiles(now, before) {
  for (const tile of tiles) fillTile(tile, now, before);
}

function fillTile(tile, now, before) {
  const value = tile.rate
    ? rateOf(now, before, (status) => sum(status.listeners, tile.rate))
    : sum(now.listeners, tile.value);
  setText(tile.shown, tile.show(value));
  if (value === undefined) return;
  tile.history = [...tile.history, { value, at: Date.parse(now.at) }].slice(-kept);
  const values = tile.history.map((one) => one.value);
  const most = Math.max(...values);
  const start = kept - values.length;
  const points = values.map(
    (one, index) => `${start + index},${(18.5 - (17 * one) / (most || 1)).toFixed(2)}`,
  );
  tile.line.setAttribute('points', points.join(' '));
  tile.area.setAttribute('points', `${start},20 ${points.join(' ')} ${kept - 1},20`);
  const age = tile.history.at(-1).at - tile.history[0].at;
  setText(tile.scale, age > 0 ? `0 to ${tile.show(most)} in ${span(age)}` : '');
}
