/** Formats times and weights as penstock writes them. */

const longest = 24 * 86_400_000;
const units = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const;

/** Milliseconds in the largest unit that needs no fraction, within penstock's range of 1ms to 24d. */
export function duration(milliseconds: number): string {
  const ms = Math.min(Math.max(Math.round(milliseconds), 1), longest);
  const [unit, size] = units.find(([, size]) => ms % size === 0) ?? ['ms', 1];
  return `${ms / size}${unit}`;
}

/** A whole number from `least` to `most`, with larger ones reduced to `most`; undefined if it is not one. */
export function whole(text: string | undefined, least: number, most = 1e9): number | undefined {
  if (text === undefined || !/^\d+$/.test(text) || Number(text) < least) return undefined;
  return Math.min(Number(text), most);
}

/** Scales weights to numbers from 1 to 1000 in the same proportions. */
export function scaledWeights(weights: readonly number[]): number[] {
  const common = weights.reduce(greatestCommonDivisor, 0) || 1;
  const most = Math.max(...weights, 1) / common;
  const divisor = most > 1000 ? (common * most) / 1000 : common;
  return weights.map((weight) => Math.max(1, Math.round(weight / divisor)));
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
