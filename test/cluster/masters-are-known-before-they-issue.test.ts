/** A master of session tickets is known for a whole period before any machine issues with it, and accepted for one after. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { createSeal } from '../../src/cluster/seal.ts';
import {
  firstMasters,
  readMasters,
  replaced,
  rotated,
  toServe,
  writeMasters,
} from '../../src/cluster/tickets.ts';

const seal = createSeal([randomBytes(32)]);

test('whoever issues is accepted by machines one rotation behind or ahead', () => {
  let before = firstMasters(0);
  for (let rotation = 1; rotation <= 6; rotation++) {
    const after = rotated(before, rotation);
    for (const [issuer, other] of [
      [before, after],
      [after, before],
    ] as const) {
      const { current } = toServe(issuer);
      const { current: own, accepted } = toServe(other);
      assert.ok([own, ...accepted].some((master) => Buffer.from(master).equals(current)));
    }
    before = after;
  }
});

test('a leaked master is accepted nowhere after all were replaced', () => {
  const before = firstMasters(0);
  const after = replaced(before, 1);
  assert.ok(after.generation > before.generation);
  assert.ok(!after.masters.some((master) => before.masters.some((old) => old.equals(master))));
});

test('they are sealed for their key and generation', () => {
  const masters = firstMasters(1_700_000_000_000);
  const text = writeMasters(masters, '/a/tickets', seal);
  assert.deepEqual(readMasters(text, '/a/tickets', seal), masters);
  assert.throws(() => readMasters(text, '/b/tickets', seal), /another place/);
  assert.throws(
    () => readMasters(text.replace('"generation":1', '"generation":2'), '/a/tickets', seal),
    /another place/,
  );
  assert.throws(() => readMasters(text.replace(/"2023-[^"]*"/, '"soon"'), '/a/tickets', seal), /the time/);
  for (const master of masters.masters) assert.ok(!text.includes(master.toString('base64').slice(0, 12)));
});
