/**
 * A histogram with a bounded relative error (HDR: exact up to 255 µs, then 128 buckets to each power of two,
 * so 0.4% at most). Node's own can only be sent to threads; this one is plain data, so that processes can
 * send theirs to be added up.
 */

/** The recorded values, in microseconds. Can be sent by structured clone. */
export type Histogram = {
  readonly counts: Uint32Array;
  count: number;
  sum: number;
  min: number;
  max: number;
};

const half = 128;
/** Up to 2^39 µs, six days. */
const buckets = 32 * half + 2 * half;

export function createHistogram(): Histogram {
  return { counts: new Uint32Array(buckets), count: 0, sum: 0, min: Number.POSITIVE_INFINITY, max: 0 };
}

/** Adds a time in milliseconds. */
export function record(histogram: Histogram, ms: number): void {
  const us = ms > 0 ? Math.round(ms * 1000) : 0;
  const bucket = bucketOf(us);
  histogram.counts[bucket] = (histogram.counts[bucket] ?? 0) + 1;
  histogram.count++;
  histogram.sum += us;
  if (us < histogram.min) histogram.min = us;
  if (us > histogram.max) histogram.max = us;
}

/** Adds all of `other`. */
export function merge(histogram: Histogram, other: Histogram): void {
  for (let bucket = 0; bucket < buckets; bucket++) {
    histogram.counts[bucket] = (histogram.counts[bucket] ?? 0) + (other.counts[bucket] ?? 0);
  }
  histogram.count += other.count;
  histogram.sum += other.sum;
  histogram.min = Math.min(histogram.min, other.min);
  histogram.max = Math.max(histogram.max, other.max);
}

/**
 * The time in milliseconds that `percent` percent of values do not exceed; undefined for an empty histogram.
 */
export function percentile(histogram: Histogram, percent: number): number | undefined {
  if (histogram.count === 0) return undefined;
  const rank = Math.max(1, Math.ceil((percent / 100) * histogram.count));
  let seen = 0;
  for (let bucket = 0; bucket < buckets; bucket++) {
    seen += histogram.counts[bucket] ?? 0;
    if (seen >= rank) return Math.min(Math.max(middleOf(bucket), histogram.min), histogram.max) / 1000;
  }
  return histogram.max / 1000;
}

function bucketOf(us: number): number {
  if (us < 2 * half) return us;
  // Uses doubles instead of 32-bit integers, since a connection may be held for hours.
  const shift = Math.floor(Math.log2(us)) - 7;
  return Math.min(shift * half + Math.floor(us / 2 ** shift), buckets - 1);
}

function middleOf(bucket: number): number {
  if (bucket < 2 * half) return bucket;
  const shift = Math.floor(bucket / half) - 1;
  const lowest = (bucket - shift * half) * 2 ** shift;
  return lowest + (2 ** shift - 1) / 2;
}
