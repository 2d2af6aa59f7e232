/**
 * However machines ask for parts of a limit and give them back, and whatever becomes of them, the parts
 * never add up to more than the limit; a machine that is alone gets all of it soon, and one that has
 * nothing gets something as soon as another has some to spare.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  asked,
  type Division,
  formatDivision,
  givenBack,
  parseDivision,
  shareOf,
  without,
} from '../../src/cluster/division.ts';

const machines = ['one', 'two', 'three'];
const totalOf = (division: Division) => [...division.values()].reduce((sum, { share }) => sum + share, 0);
const present = new Set(machines);

test('parts never add up to more than the limit', () => {
  const step = fc.record({
    machine: fc.constantFrom(...machines),
    does: fc.constantFrom('asks', 'gives', 'goes'),
    used: fc.nat(1000),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1000 }), fc.array(step, { maxLength: 60 }), (limit, steps) => {
      let division: Division = new Map();
      for (const { machine, does, used } of steps) {
        const before = division;
        if (does === 'asks') division = asked(division, machine, limit);
        else if (does === 'goes') division = without(division, new Set([machine]));
        else {
          const spare = shareOf(division, machine) - Math.min(used, shareOf(division, machine));
          division = givenBack(division, machine, spare, { limit, present });
          assert.ok(shareOf(division, machine) >= shareOf(before, machine) - spare);
        }
        assert.ok(totalOf(division) <= limit, formatDivision(division));
        assert.deepEqual(parseDivision(formatDivision(division)), division);
      }
    }),
  );
});

test('who is alone gets all of it, and who has nothing gets what others do not use', () => {
  for (const limit of [1, 2, 7, 30, 20_000]) {
    let division: Division = new Map();
    for (let write = 0; write < 20; write++) division = asked(division, 'one', limit);
    assert.equal(shareOf(division, 'one'), limit);
    division = asked(division, 'two', limit);
    assert.deepEqual(division.get('two'), { share: 0, short: true });
    // Nobody is short but a machine that has gone.
    const alone = givenBack(division, 'one', limit, { limit, present: new Set(['one']) });
    assert.equal(shareOf(alone, 'one'), limit);
    division = givenBack(division, 'one', limit, { limit, present });
    division = asked(division, 'two', limit);
    assert.ok(shareOf(division, 'two') >= 1, `${limit}`);
  }
});

test('a limit that was lowered is kept as soon as machines can', () => {
  const before: Division = new Map([
    ['one', { share: 60, short: false }],
    ['two', { share: 40, short: false }],
  ]);
  const after = givenBack(before, 'one', 55, { limit: 50, present });
  assert.equal(totalOf(after), 50);
  assert.equal(asked(after, 'two', 50).get('two')?.share, 40);
});

test('what is not understood is nobody’s', () => {
  for (const text of ['', '[]', 'x', '{"one": 5}', '{"one": {"share": -1}}', '{"one": {"share": "many"}}']) {
    assert.deepEqual([...parseDivision(text)], []);
  }
});
