/** The connections that are open: whoever comes and goes, those who are left are those who are there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LiveSet, type Member } from '../../src/net/live-set.ts';

test('is a set, whoever comes and goes', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(30), { maxLength: 200 }), (visits) => {
      const members: Member[] = Array.from({ length: 31 }, () => ({ place: 0 }));
      const set = new LiveSet();
      const expected = new Set<Member>();
      for (const visit of visits) {
        const member = members[visit] as Member;
        if (expected.delete(member)) set.delete(member);
        else {
          expected.add(member);
          set.add(member);
        }
        assert.equal(set.size, expected.size);
        assert.deepEqual(new Set(set.all()), expected);
        assert.equal(new Set(set.all()).size, set.size);
      }
    }),
  );
});

test('what it lists stays as it is while members leave', () => {
  const [one, two, three] = [{ place: 0 }, { place: 0 }, { place: 0 }];
  const set = new LiveSet<Member>();
  for (const member of [one, two, three]) set.add(member);
  const seen = [];
  for (const member of set.all()) {
    set.delete(member);
    seen.push(member);
  }
  assert.equal(seen.length, 3);
  assert.ok(seen.every((member, index) => member === [one, two, three][index]));
  assert.equal(set.size, 0);
});
