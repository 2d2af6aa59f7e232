/** A configuration in JSON takes a shorter way, and comes out as if it had been read as YAML, with the same places. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseJsonObject } from '../../src/config/read/json.ts';
import { parseYaml } from '../../src/config/read/yaml.ts';

const readable = (text: string) => !/[\p{Cc}$\u0085\u2028\u2029\ufeff]|__proto__/u.test(text);
const string = fc.string({ unit: 'grapheme', maxLength: 40 }).filter(readable);
const { object } = fc.letrec((tie) => ({
  value: fc.oneof(
    string,
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).filter((number) => !Object.is(number, -0)),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 5 }),
    tie('object'),
  ),
  object: fc.dictionary(string, tie('value'), { maxKeys: 5, noNullPrototype: true }),
}));

test('as YAML reads it', () => {
  fc.assert(
    fc.property(object, fc.constantFrom(undefined, 2, '\t'), (value, indent) => {
      const json = JSON.stringify(value, null, indent);
      assert.ok(parseJsonObject(json), 'the short way is taken');
      const short = parseYaml(json, {});
      const long = parseYaml(`${json} # no JSON`, {});
      assert.deepEqual(short.raw, long.raw);
      assert.deepEqual(short.faults, long.faults);
      for (const key of Object.keys(short.raw as object)) {
        assert.deepEqual(short.locate([key]), long.locate([key]));
      }
    }),
    { numRuns: 500 },
  );
});

test('a key that is written twice, a variable and a slip are left to YAML', () => {
  const faults = (text: string) => parseYaml(text, { PORT: '1' }).faults.map(({ message }) => message);
  assert.deepEqual(faults('{"a": {"b": 1, "b": 2}}'), ['this key is written twice']);
  assert.deepEqual(faults('{"a": [{"\\u0062": 1, "b": "x:y"}]}'), ['this key is written twice']);
  assert.deepEqual(parseYaml(`{"a": "\${PORT}"}`, { PORT: '1' }).raw, { a: '1' });
  assert.deepEqual(faults('{"__proto__": 1}'), ['unknown key "__proto__"']);
  assert.deepEqual(faults('{"\\u005f_proto__": 1}'), ['unknown key "__proto__"']);
  assert.deepEqual(parseYaml('{"a": "\\u0024{PORT}"}', { PORT: '1' }).raw, { a: '1' });
  assert.equal(faults('{"a": 1').length, 1);
});
