/** Medians and straight lines. */

export type Point = { readonly t: number; readonly value: number };

/** The median; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low, high] = [sorted[Math.ceil(middle) - 1] ?? Number.NaN, sorted[Math.floor(middle)] ?? Number.NaN];
  return (low + high) / 2;
}

/** The median of each minute, at its middle; `t` is in seconds. */
export function minuteMedians(points: readonly Point[]): Point[] {
  return [...Map.groupBy(points, ({ t }) => Math.floor(t / 60))].map(([minute, inMinute]) => ({
    t: minute * 60 + 30,
    value: median(inMinute.map(({ value }) => value)),
  }));
}

export type Line = {
  readonly mean: number;
  readonly perHour: number;
  /** The standard error of `perHour`. */
  readonly error: number;
};

/** The straight line of least squares through three points or more. */
export function fit(points: readonly Point[]): Line | undefined {
  const count = points.length;
  if (count < 3) return undefined;
  const meanT = points.reduce((sum, { t }) => sum + t, 0) / count;
  const mean = points.reduce((sum, { value }) => sum + value, 0) / count;
  const spread = points.reduce((sum, { t }) => sum + (t - meanT) ** 2, 0);
  const slope = points.reduce((sum, { t, value }) => sum + (t - meanT) * (value - mean), 0) / spread;
  const rest = points.reduce((sum, { t, value }) => sum + (value - mean - slope * (t - meanT)) ** 2, 0);
  return { mean, perHour: slope * 3600, error: Math.sqrt(rest / (count - 2) / spread) * 3600 };
}
