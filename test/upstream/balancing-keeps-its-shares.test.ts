/**
 * Each way of balancing gives every endpoint its share by weight, takes a higher priority number only when nothing of a lower
 * one is left, and gives a retry another endpoint while there is one. Hashing keeps clients where they are: an endpoint
 * that goes moves its own clients and nobody else's.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createBalancer } from '../../src/upstream/balance.ts';

type Fake = { label: string; weight: number; priority: number; state: { active: number } };

const kinds = ['round_robin', 'least_connections', 'random_two', 'hash'] as const;
const candidate = fc.record({
  weight: fc.integer({ min: 1, max: 10 }),
  priority: fc.integer({ min: 0, max: 2 }),
  state: fc.record({ active: fc.integer({ min: 0, max: 20 }) }),
});
const someCandidates = fc
  .array(candidate, { minLength: 1, maxLength: 8 })
  .map((list): Fake[] => list.map((one, index) => ({ ...one, label: `10.0.0.${index}:5432` })));

function weighted(...weights: number[]): Fake[] {
  return weights.map((weight, index) => ({
    label: `10.0.0.${index}:5432`,
    weight,
    priority: 0,
    state: { active: 0 },
  }));
}

for (const kind of kinds) {
  test(`${kind}: retries go through all candidates, each once, the lowest priority number first`, () => {
    fc.assert(
      fc.property(someCandidates, fc.string(), (candidates, key) => {
        const balance = createBalancer<Fake>(kind);
        const order: Fake[] = [];
        for (;;) {
          const next = balance(
            candidates.filter((one) => !order.includes(one)),
            key,
          );
          if (!next) break;
          order.push(next);
        }
        assert.equal(new Set(order).size, candidates.length);
        const priorities = order.map(({ priority }) => priority);
        assert.deepEqual(priorities, [...priorities].sort());
      }),
    );
  });
}

test('round_robin: in every round of the sum of weights each has exactly its weight', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 6 }), (weights) => {
      const candidates = weighted(...weights);
      const balance = createBalancer<Fake>('round_robin');
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (let round = 0; round < 3; round++) {
        const taken = Array.from({ length: total }, () => balance(candidates, ''));
        assert.deepEqual(
          candidates.map((one) => taken.filter((other) => other === one).length),
          weights,
        );
      }
    }),
  );
});

test('round_robin: weights are spread over the round, as nginx has it', () => {
  const [a, b, c] = weighted(5, 1, 1);
  const balance = createBalancer<Fake>('round_robin');
  const names = new Map([
    [a, 'a'],
    [b, 'b'],
    [c, 'c'],
  ]);
  const round = Array.from({ length: 7 }, () => names.get(balance([a, b, c] as Fake[], '')));
  assert.equal(round.join(''), 'aabacaa');
});

test('least_connections: nobody else has fewer for its weight, and equals take turns', () => {
  fc.assert(
    fc.property(someCandidates, (all) => {
      const candidates = all.map((one) => ({ ...one, priority: 0 }));
      const taken = createBalancer<Fake>('least_connections')(candidates, '');
      assert.ok(taken);
      const load = taken.state.active / taken.weight;
      assert.ok(candidates.every(({ state, weight }) => state.active / weight >= load));
    }),
  );
  const idle = weighted(1, 1, 1);
  const balance = createBalancer<Fake>('least_connections');
  assert.equal(new Set(Array.from({ length: 3 }, () => balance(idle, ''))).size, 3);
});

test('random_two: never the most loaded, and connections that stay spread by weight', () => {
  const loaded = weighted(1, 1, 1);
  for (const [index, one] of loaded.entries()) one.state.active = index;
  const balance = createBalancer<Fake>('random_two', seeded(1));
  for (let turn = 0; turn < 200; turn++) assert.notEqual(balance(loaded, ''), loaded[2]);

  const candidates = weighted(1, 2, 4);
  for (let turn = 0; turn < 7000; turn++) {
    const taken = balance(candidates, '');
    if (taken) taken.state.active++;
  }
  for (const { state, weight } of candidates) {
    assert.ok(Math.abs(state.active - weight * 1000) < 50, `${state.active}`);
  }
});

test('hash: shares by weight, the same for the same key', () => {
  const candidates = weighted(1, 2, 1);
  const balance = createBalancer<Fake>('hash');
  const counts = new Map<Fake | undefined, number>();
  for (const key of clients(8000)) {
    const taken = balance(candidates, key);
    assert.equal(createBalancer<Fake>('hash')([...candidates].reverse(), key), taken);
    counts.set(taken, (counts.get(taken) ?? 0) + 1);
  }
  for (const one of candidates) {
    const share = (counts.get(one) ?? 0) / 8000 / (one.weight / 4);
    assert.ok(share > 0.9 && share < 1.1, `${one.label} has ${share} of its share`);
  }
});

test('hash: an endpoint that goes moves only its own clients, evenly to the others', () => {
  const candidates = weighted(1, 1, 1, 1, 1);
  const [gone, ...left] = candidates;
  const balance = createBalancer<Fake>('hash');
  const moved = new Map<Fake | undefined, number>();
  for (const key of clients(8000)) {
    const before = balance(candidates, key);
    const after = balance(left, key);
    if (before === gone) moved.set(after, (moved.get(after) ?? 0) + 1);
    else assert.equal(after, before);
  }
  const sum = [...moved.values()].reduce((total, count) => total + count, 0);
  assert.ok(sum > 1400 && sum < 1800, `${sum} of 8000 moved`);
  for (const one of left)
    assert.ok((moved.get(one) ?? 0) > sum / 4 / 1.3, `${one.label} took ${moved.get(one)}`);
});

function clients(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `10.1.${index >> 8}.${index & 255}`);
}

/** Numbers that look random and are the same in every run (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}
