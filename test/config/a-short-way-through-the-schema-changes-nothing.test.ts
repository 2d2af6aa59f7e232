/** The plainest routes and certificates are parsed without the schema's general way, and come out as it would have them. */
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
      { weight: 6, arbitrary: fc.constant<unknown>('passthrough') },
      {
        weight: 3,
        arbitrary: fc.record({ certificates: fc.oneof(name, fc.constantFrom<unknown>([], ['c'], 5)) }),
      },
      { weight: 1, arbitrary: fc.constant({ certificates: 'c', alpn: 'h2' }) },
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

const file = fc.oneof(
  fc.constantFrom<unknown>('a.pem', 'tls/a.pem', '', 5, null),
  fc.string({ maxLength: 3 }),
);
const certificate = fc.record(
  { cert: file, key: file, ocsp: fc.constant('a.ocsp'), nonsense: fc.constant(1) },
  { requiredKeys: [] },
);

test('a certificate is parsed as a pair in a list, which takes the long way', () => {
  let valid = 0;
  fc.assert(
    fc.property(certificate, (raw) => {
      const parseOne = (one: object) =>
        configSchema.safeParse({
          listeners: { l: { bind: ':1', routes: [{ deny: true }] } },
          certificates: { one },
        });
      const [short, long] = [parseOne(raw), parseOne({ pairs: [raw] })];
      assert.equal(short.success, long.success);
      if (!short.success || !long.success) return;
      assert.deepEqual(short.data.certificates, long.data.certificates);
      valid += 1;
    }),
    { numRuns: 1000, examples: [[{ cert: 'a.crt', key: 'a.key' }]] },
  );
  assert.ok(valid > 20, `${valid} are valid`);
});
