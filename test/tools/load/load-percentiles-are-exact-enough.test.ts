/** The histogram of `penstock load`: percentiles are within 0.4% of the exact ones (or half a microsecond), and merging is recording all. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createHistogram, merge, percentile, record } from '../../../src/tools/load/engine/histogram.ts';

const times = fc.array(
  fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1e8, noNaN: true })),
  { minLength: 1, maxLength: 200 },
);

function histogramOf(list: readonly number[]) {
  const histogram = createHistogram();
  for (const time of list) record(histogram, time);
  return histogram;
}

test('a percentile is the value at its rank, as nearly as the buckets have it', () => {
  fc.assert(
    fc.property(times, fc.double({ min: 0, max: 100, noNaN: true }), (list, percent) => {
      const sorted = list.toSorted((one, other) => one - other);
      const exact = sorted[Math.max(1, Math.ceil((percent / 100) * list.length)) - 1]!;
      const found = percentile(histogramOf(list), percent)!;
      assert.ok(Math.abs(found - exact) <= exact * 0.004 + 0.0006, `${found} for ${exact}`);
    }),
  );
});

test('two histograms merged are one of both', () => {
  fc.assert(
    fc.property(times, times, (some, others) => {
      const merged = histogramOf(some);
      merge(merged, histogramOf(others));
      assert.deepEqual(merged, histogramOf([...some, ...others]));
    }),
  );
});

test('an empty one has no percentiles; the greatest is exact', () => {
  assert.equal(percentile(createHistogram(), 50), undefined);
  assert.equal(percentile(histogramOf([1, 2, 123.457]), 100), 123.457);
});
