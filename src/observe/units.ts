/** Numbers as people read them; undefined is a rate that is not known yet. */

export function bytes(value: number | undefined): string {
  if (value === undefined) return '-';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  const unit = Math.min(units.length - 1, value < 1 ? 0 : Math.floor(Math.log2(value) / 10));
  const scaled = value / 1024 ** unit;
  return `${scaled < 10 && unit > 0 ? scaled.toFixed(1) : Math.round(scaled)} ${units[unit]}`;
}

/** `48 ms`, `3.2 s`, `5 min`, `2 h 5 min`, `3 days`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : span(ms);
}

/** A longer time, in whole units: `12 s`, `5 min`, `2 h 5 min`, `3 days`. */
export function span(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return `${Math.max(0, Math.floor(ms / 1000))} s`;
  if (minutes < 60) return `${minutes} min`;
  return minutes < 2880
    ? `${Math.floor(minutes / 60)} h ${minutes % 60} min`
    : `${Math.floor(minutes / 1440)} days`;
}

export function count(value: number): string {
  return value.toLocaleString('en');
}

export function perSecond(value: number | undefined): string {
  if (value === undefined) return '-';
  return value < 10 ? `${Math.round(value * 10) / 10}` : count(Math.round(value));
}
