/**
 * What the comparison with other proxies makes of its measurements: ratios are of the same round, a peer that failed has no
 * figure and misses its target, and a peer that cannot do a thing is not judged.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { betweenMarkers } from '../../bench/compare/markdown.ts';
import type { Outcome } from '../../bench/compare/measure.ts';
import { parsePeer } from '../../bench/compare/peers.ts';
import { type Cell, meetsTarget, rowOf } from '../../bench/compare/results.ts';
import { median, rotated, summarise } from '../../bench/compare/statistics.ts';
import { workloads } from '../../bench/compare/workloads.ts';

const workload = { ...workloads[0]!, target: 1.1 };
const haproxy = { name: 'haproxy', kind: 'haproxy' } as const;

function measured(figures: readonly (readonly [round: number, perUnit: number])[]): Outcome {
  return {
    status: 'measured',
    samples: figures.map(([round, perUnit]) => ({ round, perUnit, logLines: 1 })),
  };
}

test('a ratio is of two figures of the same round', () => {
  const outcomes = new Map([
    // Slow rounds for both, as on a machine that has other things to do: the ratio stays.
    [
      'penstock',
      measured([
        [1, 110],
        [2, 220],
        [3, 1100],
      ]),
    ],
    [
      'haproxy',
      measured([
        [1, 100],
        [2, 200],
        [3, 1000],
      ]),
    ],
  ]);
  const cell = rowOf(workload, 1, outcomes, haproxy).cells['penstock'];
  assert.equal(cell?.status, 'measured');
  assert.deepEqual(cell.ratio, { median: 1.1, min: 1.1, max: 1.1, mad: 0 });
  assert.equal(cell.perUnit.median, 220);
});

test('a workload that failed has no figure and misses its target', () => {
  const outcomes = new Map<string, Outcome>([
    ['penstock', { status: 'failed', reason: 'not resumed' }],
    ['haproxy', measured([[1, 100]])],
    ['hitch', { status: 'unserved' }],
  ]);
  const row = rowOf(workload, 1, outcomes, haproxy);
  assert.equal(meetsTarget(row, row.cells['penstock']), false);
  assert.equal(meetsTarget(row, row.cells['hitch']), undefined);
});

test('without a figure of the baseline there is no ratio, and nothing is met', () => {
  const outcomes = new Map<string, Outcome>([
    ['penstock', measured([[1, 1]])],
    ['haproxy', { status: 'failed', reason: 'refused' }],
  ]);
  const row = rowOf(workload, 1, outcomes, haproxy);
  assert.equal((row.cells['penstock'] as Extract<Cell, { status: 'measured' }>).ratio, undefined);
  assert.equal(meetsTarget(row, row.cells['penstock']), undefined);
});

test('beside another penstock the targets do not count', () => {
  const outcomes = new Map([
    ['now', measured([[1, 1]])],
    ['base', measured([[1, 1]])],
  ]);
  assert.equal(rowOf(workload, 1, outcomes, { name: 'base', kind: 'penstock' }).target, undefined);
});

test('medians and spreads', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.deepEqual(summarise([1, 2, 10]), { median: 2, min: 1, max: 10, mad: 1 });
  assert.equal(summarise([]), undefined);
});

test('each peer is first in its turn', () => {
  assert.deepEqual(
    [0, 1, 2, 3].map((round) => rotated(['a', 'b', 'c'], round)[0]),
    ['a', 'b', 'c', 'a'],
  );
});

test('a peer is named, of a kind, at a path, with options', () => {
  const { options, ...base } = parsePeer('base=penstock:/src/base?access=off&flags=--a,--b');
  assert.deepEqual(base, { name: 'base', kind: 'penstock', path: '/src/base' });
  assert.equal(options.get('flags'), '--a,--b');
  assert.equal(parsePeer('nginx').name, 'nginx');
  for (const wrong of ['base=other:/x', 'penstock?colour=red', 'nginx?access=off', '']) {
    assert.throws(() => parsePeer(wrong), wrong);
  }
});

test('the table replaces what stands between the markers only', () => {
  const page = 'a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nb\n';
  const written = betweenMarkers(page, 'new');
  assert.equal(written, 'a\n<!-- bench:begin -->\nnew\n<!-- bench:end -->\nb\n');
  assert.equal(betweenMarkers(written, 'new'), written);
  assert.throws(() => betweenMarkers('a', 'new'));
});
