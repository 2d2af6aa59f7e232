/**
 * Of a limit that workers share, what is free is granted though another worker does not answer; what that one gives back
 * later is free from then on, and never more than the limit is out.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLeaseOffice } from '../../src/supervisor/leases.ts';

test('a worker that does not answer is not waited for', async () => {
  let answer: (amount: number) => void = () => {};
  const office = createLeaseOffice(
    () =>
      new Promise((resolve) => {
        answer = resolve;
      }),
    20,
  );
  office.setLimits(new Map([['clients', 10]]));
  let held = 0;
  while (held < 10) held += await office.request(1, 'clients', 10);
  assert.equal(await office.request(2, 'clients', 10), 0);
  answer(4);
  await new Promise(setImmediate);
  const granted = await office.request(2, 'clients', 10);
  assert.ok(granted > 0 && granted <= 4, `${granted}`);
});
