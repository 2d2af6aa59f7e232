/** The plainest routes are parsed without the schema's general way, and come out as it would have them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { configSchema } from '../../src/config/schema/schema.ts';

const label = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('a', 'b1', 'example') },
  fc.constantFrom('A', 'a-b', '-a', 'a-', '_a', 'é', '', '*', 'x'.repeat(63), 'y'.repeat(90), '1'),
  fc.string({ maxLength: 4 }),
);
const sni = fc.oneof(
  { weight: 8, arbitrary: fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.')) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<unknown>(
      'a.example.',
      ' a.example',
      'a.example\n',
      ['a.example'],
      [],
      5,
      null,
    ),
  },
);
const name = fc.oneof(
  fc.constantFrom('u', 'u-1', '-u', '.u', 'u'.repeat(63), 'u'.repeat(64), 'u\n'),
  fc.string({ maxLength: 3 }),
);
const route = fc.record(
  {
    sni,
    tls: fc.oneof(
      { weight: 6, arbitrary: fc.constant('passthrough') },
      fc.constantFrom<unknown>('off', false, 'x', { certificates: 'c' }, null),
    ),
    upstream: fc.oneof({ weight: 6, arbitrary: name }, fc.constantFrom<unknown>(5, null, ['u'])),
    deny: fc.constant(true),
    nonsense: fc.constant(1),
  },
  { requiredKeys: [] },
);

function parse(raw: object) {
  const { success, data, error } = configSchema.safeParse({
    listeners: { l: { bind: ':1', routes: [raw] } },
  });
  return success ? data.listeners['l']?.routes[0] : error.issues;
}

test('a route is parsed as one that takes the long way', () => {
  let valid = 0;
  fc.assert(
    fc.property(route, (raw) => {
      const short = parse(raw);
      // With a label of its own it takes the long way.
      const long = parse({ name: 'long', ...raw });
      if (Array.isArray(long) || long === undefined) return assert.deepEqual(short, long);
      const { name: _, ...rest } = long;
      assert.deepEqual(short, rest);
      assert.deepEqual(Object.keys(short ?? {}), Object.keys(rest));
      valid += 1;
    }),
    { numRuns: 3000, examples: [[{ sni: 'a.example', tls: 'passthrough', upstream: 'u' }]] },
  );
  assert.ok(valid > 100, `${valid} are valid`);
});
