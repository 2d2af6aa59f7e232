/* Numbers and times as people read them; undefined is a rate that is not known yet. */

const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

export const count = (value) => plain.format(value);

export const perSecond = (value) =>
  value === undefined ? '–' : value < 10 ? String(Math.round(value * 10) / 10) : plain.format(value);

export function bytes(value) {
  if (value === undefined) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let [scaled, unit] = [value, 0];
  while (scaled >= 1024 && unit < units.length - 1) {
    scaled /= 1024;
    unit += 1;
  }
  return `${scaled < 10 && unit > 0 ? scaled.toFixed(1) : Math.round(scaled)} ${units[unit]}`;
}

export const day = (date) => date.slice(0, 10);
export const clock = (date) => date.toLocaleTimeString('en-GB');

export function span(ms) {
  const minutes = Math.floor(ms / 60000);
  if (minutes < 1) return `${Math.max(0, Math.floor(ms / 1000))} s`;
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} days`;
}

export const ago = (date, at) => span(Date.parse(at) - Date.parse(date));

export const sum = (list, pick) => list.reduce((total, one) => total + pick(one), 0);

/* How fast a counter grew between two answers; undefined without an earlier one, or if it restarted. */
export function rateOf(now, before, pick) {
  if (!before || before.started_at !== now.started_at) return undefined;
  const seconds = (Date.parse(now.at) - Date.parse(before.at)) / 1000;
  const [to, from] = [pick(now), pick(before)];
  return seconds > 0 && to >= from ? (to - from) / seconds : undefined;
}
