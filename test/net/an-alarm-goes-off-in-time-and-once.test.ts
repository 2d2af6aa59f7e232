/** Alarms: each goes off once, no earlier than it is due and in the order of their times, whatever was set, moved or cleared before. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Alarmed, clearAlarm, setAlarm } from '../../src/net/alarms.ts';
import { eventually } from '../support/eventually.ts';

type Recorded = Alarmed & { readonly rang: { readonly due: number; readonly at: number }[] };

function alarm(log: Recorded[] = []): Recorded {
  return {
    alarmAt: Number.POSITIVE_INFINITY,
    alarmPlace: 0,
    rang: [],
    onAlarm(due) {
      this.rang.push({ due, at: performance.now() });
      log.push(this);
    },
  };
}

test('hundreds at random, some moved and some cleared, go off in order', async () => {
  const order: Recorded[] = [];
  const all = Array.from({ length: 300 }, () => alarm(order));
  const now = performance.now();
  for (const it of all) setAlarm(it, now + Math.random() * 200);
  for (const it of all) if (Math.random() < 0.3) setAlarm(it, now + Math.random() * 200);
  const cleared = all.filter(() => Math.random() < 0.3);
  for (const it of cleared) clearAlarm(it);
  const due = new Map(all.map((it) => [it, it.alarmAt]));
  const kept = all.filter((it) => !cleared.includes(it));
  await eventually(() => assert.equal(order.length, kept.length));
  const times = order.map((it) => due.get(it) ?? Number.NaN);
  assert.deepEqual(
    times,
    times.toSorted((a, b) => a - b),
  );
  for (const it of kept) {
    const [rang, another] = it.rang;
    assert.ok(rang && another === undefined, 'once');
    assert.equal(rang.due, due.get(it));
    assert.ok(rang.at >= rang.due, 'not before it is due');
    assert.equal(it.alarmAt, Number.POSITIVE_INFINITY);
  }
  for (const it of cleared) assert.deepEqual(it.rang, []);
});

test('one for later does not hold back one for sooner; one that goes off can be set again', async () => {
  const [late, soon] = [alarm(), alarm()];
  let left = 3;
  const again: Alarmed = {
    alarmAt: Number.POSITIVE_INFINITY,
    alarmPlace: 0,
    onAlarm() {
      left -= 1;
      if (left > 0) setAlarm(this, performance.now() + 5);
    },
  };
  setAlarm(late, performance.now() + 3_600_000);
  setAlarm(soon, performance.now() + 20);
  setAlarm(again, performance.now() + 5);
  await eventually(() => assert.deepEqual([soon.rang.length, left], [1, 0]));
  assert.equal(late.rang.length, 0);
  clearAlarm(late);
  clearAlarm(late);
});

test('one that is further away than a timer can be waits', async () => {
  const [distant, soon] = [alarm(), alarm()];
  setAlarm(distant, performance.now() + 2 ** 32);
  setAlarm(soon, performance.now() + 10);
  await eventually(() => assert.equal(soon.rang.length, 1));
  assert.equal(distant.rang.length, 0);
  clearAlarm(distant);
});
