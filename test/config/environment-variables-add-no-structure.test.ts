/**
 * `${NAME}` stands for a value and for nothing else: whatever a variable holds, it becomes no key, no list and no second
 * value; an unquoted one is typed as if it had been written there; one that is not set is a fault with its place.
 */
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the very syntax that is tested.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { substitute } from '../../src/config/read/environment.ts';
import { parseYaml } from '../../src/config/read/yaml.ts';
import { load } from '../support/configuration.ts';

const environment = { N: '7', T: 'true', EMPTY: '', TEXT: 'a: [b, c] # d', NESTED: '${N}', LINES: 'x\ny: z' };

const scalars: readonly { readonly yaml: string; readonly value: unknown }[] = [
  { yaml: 'v: ${N}', value: 7 },
  { yaml: 'v: "${N}"', value: '7' },
  { yaml: "v: '${N}'", value: '7' },
  { yaml: 'v: !!str ${N}', value: '7' },
  { yaml: 'v: ${T}', value: true },
  { yaml: 'v: ${EMPTY}', value: null },
  { yaml: 'v: "${EMPTY}"', value: '' },
  { yaml: 'v: ${TEXT}', value: 'a: [b, c] # d' },
  { yaml: 'v: ${LINES}', value: 'x\ny: z' },
  { yaml: 'v: ${NESTED}', value: '${N}' },
  { yaml: 'v: ${N}${N}', value: 77 },
  { yaml: 'v: 10.0.0.${N}:5432', value: '10.0.0.7:5432' },
  { yaml: 'v: ${MISSING:-12}', value: 12 },
  { yaml: 'v: ${EMPTY:-12}', value: 12 },
  { yaml: 'v: ${N:-12}', value: 7 },
  { yaml: 'v: ${MISSING:-}', value: null },
  { yaml: 'v: ${MISSING:-:5432}', value: ':5432' },
  { yaml: 'v: ${MISSING:-a: b} # a comment', value: 'a: b' },
  { yaml: 'v: $${N}', value: '${N}' },
  { yaml: 'v: costs $5', value: 'costs $5' },
  { yaml: 'v: { a: ${N}, b: "${N}", c: ${MISSING:-x,y} }', value: { a: 7, b: '7', c: 'x,y' } },
  { yaml: 'v: [${N}, $${N}]', value: [7, '${N}'] },
  { yaml: 'v: |\n  ${N}\n', value: '7\n' },
  { yaml: 'v: &a ${N}\nw: *a', value: 7 },
];

for (const { yaml, value } of scalars) {
  test(`${JSON.stringify(yaml)} is ${JSON.stringify(value)}`, () => {
    const parsed = parseYaml(yaml, environment);
    assert.deepEqual(parsed.faults, []);
    assert.deepEqual((parsed.raw as { v: unknown }).v, value);
  });
}

test('keys are left as they are', () => {
  assert.deepEqual(parseYaml('${N}: ${N}', environment).raw, { '${N}': 7 });
});

test('any value of a variable is one scalar, and in quotes that very text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const { raw, faults } = parseYaml('a: "${V}"\nb: [${V}]\nc: { d: ${V} }', { V: text });
      const { a, b, c } = raw as { a: string; b: unknown[]; c: { d: unknown } };
      assert.deepEqual(faults, []);
      assert.equal(a, text);
      assert.equal(b.length, 1);
      assert.ok(typeof b[0] !== 'object' || b[0] === null);
      assert.deepEqual(Object.keys(c), ['d']);
    }),
  );
});

test('text without a reference stays as it is', () => {
  fc.assert(
    fc.property(
      fc.string().filter((text) => !text.includes('${')),
      (text) => assert.deepEqual(substitute(text, environment), { text, faults: [] }),
    ),
  );
});

test('what is not set, and what is no variable, are faults in their place', async (t) => {
  const text = [
    'log: { level: ${LEVEL}, destination: "${1X}" }',
    'listeners:',
    '  db: { bind: "${HOST}:${PORT}", routes: [{ deny: ${DENY:-${YES}} }] }',
  ].join('\n');
  const { faults } = await load(t, text, { environment: { HOST: 'h' } });
  assert.deepEqual(faults, [
    'penstock.yaml:1:15 log.level: the environment has no variable LEVEL; set it, or give a default: ${LEVEL:-…}',
    'penstock.yaml:1:38 log.destination: not an environment variable; write ${NAME} or ${NAME:-default}, or $${ for a literal ${',
    'penstock.yaml:3:15 listeners.db.bind: the environment has no variable PORT; set it, or give a default: ${PORT:-…}',
    'penstock.yaml:3:51 listeners.db.routes[0].deny: not an environment variable; write ${NAME} or ${NAME:-default}, or $${ for a literal ${',
  ]);
});

test('a configuration takes its values from the environment', async (t) => {
  const text = [
    'listeners:',
    '  db:',
    '    bind: ${HOST:-127.0.0.1}:${PORT}',
    '    limits: { connections: ${MAX:-10}, handshakes: ${HANDSHAKES} }',
    '    routes: [{ deny: true }]',
  ].join('\n');
  const { loaded } = await load(t, text, { environment: { PORT: '5432', HANDSHAKES: 'off' } });
  assert.deepEqual(loaded?.config.listeners['db']?.bind, ['127.0.0.1:5432']);
  assert.equal(loaded?.config.listeners['db']?.limits.connections, 10);
  assert.equal(loaded?.config.listeners['db']?.limits.handshakes, Number.POSITIVE_INFINITY);
});
