/**
 * What a connection takes is counted in the process that serves it, and a count over its budget fails the check, which says which it
 * is. What was not measured here is not judged.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { overruns, savings, updated } from '../../bench/path/budget.ts';

const budget = { plain: { promises: 10, heap_bytes: 20_000, system_calls: 30 }, rewrap: { promises: 20 } };

function measured(counts: Readonly<Record<string, number>>) {
  return new Map([['plain', counts]]);
}

test('a count that has grown is over its budget', () => {
  assert.deepEqual(overruns(budget, measured({ promises: 11, heap_bytes: 20_000, system_calls: 30 })), [
    'plain: promises is 11, its budget 10 (+1)',
  ]);
});

test('what timers of the process itself add is no growth, nor what V8 allocates more before it optimises', () => {
  assert.deepEqual(
    overruns(budget, measured({ promises: 10.2, heap_bytes: 21_900, system_calls: 30.2 })),
    [],
  );
  assert.match(overruns(budget, measured({ heap_bytes: 22_100 })).join(), /heap_bytes is 22,100, .*\+2,100/);
});

test('a kind of connection without a budget is over it', () => {
  assert.deepEqual(overruns(budget, new Map([['passthrough', { promises: 1 }]])), [
    'passthrough: it has no budget yet',
  ]);
});

test('what was not measured is not judged, and keeps its budget', () => {
  assert.deepEqual(overruns(budget, measured({ promises: 10 })), []);
  assert.deepEqual(updated(budget, measured({ promises: 9.04, '· write': 2 })), {
    plain: { promises: 9, heap_bytes: 20_000, system_calls: 30 },
    rewrap: { promises: 20 },
  });
});

test('a count that has shrunk is mentioned', () => {
  assert.deepEqual(savings(budget, measured({ promises: 8, system_calls: 30 })), [
    'plain: promises is 8, less than its budget of 10',
  ]);
});

test('the check fails when penstock takes more than the budget says', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'penstock-budget-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'budget.json');
  writeFileSync(file, JSON.stringify({ plain: { listeners: 1, timers: 1000 } }));
  const program = resolve(import.meta.dirname, '../../bench/path/main.ts');
  const few = ['--only', 'plain', '--connections', '5', '--warm-up', '1'];
  const run = spawnSync(process.execPath, [program, '--check', ...few, '--budget', file], {
    encoding: 'utf8',
  });
  assert.equal(run.status, 1, run.stderr);
  assert.match(run.stderr, /^plain: listeners is \d+.*, its budget 1 /m);
  assert.match(run.stderr, /^plain: timers is .*, less than its budget of 1,000/m);
  assert.match(run.stderr, /--update/);
});
