/** A table of names is one sorted text in blocks: each name is found with its own value, and nothing else is, whatever a client sends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { findName, packNames } from '../../src/config/routes/names.ts';
import { atOnce } from '../../src/process/pacer.ts';

const pack = (names: Iterable<string>) =>
  atOnce(packNames(new Map([...names].map((it) => [it, `of ${it}`]))));

const label = fc.string({
  unit: fc.constantFrom('a', 'b', '-', '0', 'é', '\u{10ffff}', ' ', '!', '"'),
  maxLength: 3,
});
const name = fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => labels.join('.'));

test('each name is found, and no other', () => {
  fc.assert(
    fc.property(fc.uniqueArray(name), fc.array(name), (names, others) => {
      const packed = pack(names);
      for (const one of [...names, ...others]) {
        assert.equal(findName(packed, one), names.includes(one) ? `of ${one}` : undefined);
      }
    }),
  );
});

test('over many blocks, and beside their edges', () => {
  const names = Array.from({ length: 5000 }, (_, index) => `n${index}.example`);
  const packed = pack(names);
  assert.ok(packed.length > 50);
  for (const one of names) {
    assert.equal(findName(packed, one), `of ${one}`);
    for (const near of [`${one}!`, `${one}0`, one.slice(0, -1), `0${one}`, one.toUpperCase()]) {
      assert.equal(findName(packed, near), undefined, near);
    }
  }
  assert.equal(findName([], 'a'), undefined);
});

test('a name with the signs of the table in it is none', () => {
  const packed = pack(['a', 'b', 'c']);
  for (const sent of ['a\tof a', 'a\tof a\nb', '\nb', 'b\t', '', '\n', '\t', 'a\n']) {
    assert.equal(findName(packed, sent), undefined, JSON.stringify(sent));
  }
  for (const broken of ['a\nb', 'a\tb']) assert.throws(() => pack([broken]), TypeError);
});
