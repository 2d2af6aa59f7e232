/** Medians and spreads: few rounds on a busy machine have outliers, so no means. */

export type Summary = {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly mad: number;
};

/** The median; of an even number of values, the mean of the middle two. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low, high] = [sorted[Math.ceil(middle) - 1] ?? Number.NaN, sorted[Math.floor(middle)] ?? Number.NaN];
  return (low + high) / 2;
}

/** Median, extremes, and the median of the distances from the median (not scaled). Undefined of no values. */
export function summarise(values: readonly number[]): Summary | undefined {
  if (values.length === 0) return undefined;
  const centre = median(values);
  return {
    median: centre,
    min: Math.min(...values),
    max: Math.max(...values),
    mad: median(values.map((value) => Math.abs(value - centre))),
  };
}

/** Ratios of what was measured in the same round; rounds that one of both lacks are left out. */
export function pairedRatios(
  values: ReadonlyMap<number, number>,
  baseline: ReadonlyMap<number, number>,
): number[] {
  return [...values].flatMap(([round, value]) => {
    const base = baseline.get(round);
    return base === undefined || base === 0 ? [] : [value / base];
  });
}

/** A list turned by so many places: each is first in its round. */
export function rotated<T>(items: readonly T[], by: number): T[] {
  const at = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
}
