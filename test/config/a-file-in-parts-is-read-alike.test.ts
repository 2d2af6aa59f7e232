/**
 * A large YAML file is read in parts, object by object, and mostly by a parser for plain YAML. What comes out is what the full
 * parser reads: the same values, and the same places for whatever is wrong.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { wholeOf } from '../../src/config/read/parted.ts';
import { type Parts, parseParts } from '../../src/config/read/parts.ts';
import { parsePlainYaml } from '../../src/config/read/plain-yaml.ts';
import { parseYaml } from '../../src/config/read/yaml.ts';
import { atOnce } from '../../src/process/pacer.ts';

const partsOf = (text: string, former?: Parts): Parts | undefined =>
  atOnce(parseParts(Buffer.from(text), {}, former));
const fromText = (text: string): Parts => {
  const parts = partsOf(text);
  assert.ok(parts, 'it is cut');
  return parts;
};

const plain = fc.constantFrom(
  'a',
  'db.example.com',
  '10.0.0.1:5432',
  'off',
  'true',
  'False',
  'null',
  'NULL',
  '~',
  '1.2',
  '007',
  '0x1f',
  '0o17',
  '1e3',
  '.5',
  '.inf',
  '.nan',
  '...',
  '1_000',
  '12:30',
  '2001-01-01',
  '-1',
  '+1',
  'a:b',
  'a:',
  ':a',
  'a b',
  '"a b"',
  "'it'",
  '"x\\ny"',
  "'a''b'",
  '*a',
  '&a b',
  '!t x',
  '|',
  '>',
  '@x',
  '%x',
  '`x',
  '?',
  '? a',
  '- a',
  '-',
  '[]',
  '{}',
  '[a, b]',
  '[a,b]',
  '[ 1, "x" ]',
  '{a: 1}',
  '{ a: [b], c: {d: off} }',
  '[a: b]',
  '{a}',
  '[a, ]',
  '[a',
  '{a: b',
  'a # b',
  'a#b',
  '#',
  '"a',
  '$' + '{X}',
  '$x',
  '<<',
  '=',
  'http://x/y',
  '{"a": 1}',
  '{a: 1, a: 2}',
  '__proto__: x',
  '{__proto__: 1}',
  'é',
  '',
);
const key = fc.constantFrom(
  'a',
  'b',
  'tls',
  'null',
  'True',
  'x.y',
  '1',
  '"q"',
  'sni',
  'e5',
  '__proto__',
  'a b',
  '- c',
  '-  d',
  '- - e',
);

test('whatever plain parser takes, the full one reads alike', () => {
  const line = fc
    .tuple(fc.integer({ min: 0, max: 6 }), fc.option(key), plain)
    .map(([indent, name, value]) => {
      const text = name === null ? value : `${name}:${value === '' ? '' : ' '}${value}`;
      return ' '.repeat(indent) + text;
    });
  let taken = 0;
  fc.assert(
    fc.property(fc.array(line, { minLength: 1, maxLength: 6 }), (lines) => {
      const text = `${lines.join('\n')}\n`;
      const short = parsePlainYaml(text);
      if (short === undefined) return;
      taken += 1;
      const { raw, faults } = parseYaml(text, {});
      assert.deepEqual(faults, [], text);
      assert.deepEqual(short, raw, text);
    }),
    { numRuns: 20_000 },
  );
  assert.ok(taken > 500, `${taken} taken`);
});

test('plain objects as programs and people write them are taken', () => {
  for (const text of [
    '      - sni: a.example\n        tls: passthrough\n        upstream: u\n',
    '  - { sni: [a.example, "*.b.example"], tls: { certificates: c, min_version: "1.3" }, upstream: u }\n',
    '  u:\n    endpoints:\n    - 10.0.0.1:5432\n    - address: 10.0.0.2:5432\n      weight: 2\n    retries: 3\n',
    '  c: { cert: tls/c.crt, key: tls/c.key }\n',
  ]) {
    assert.deepEqual(parsePlainYaml(text), parseYaml(text, {}).raw);
    assert.ok(parsePlainYaml(text));
  }
});

const scalar = fc.constantFrom<unknown>('a', 'x y', 1, true, null, 'off', '1.2', 'a: b', '#c', 'l1\nl2\n');
const object = fc.dictionary(
  fc.constantFrom('a', 'b', 'c d', 'routes', 'certificates'),
  fc.oneof(scalar, fc.array(scalar, { maxLength: 3 })),
  {
    minKeys: 1,
    maxKeys: 3,
    noNullPrototype: true,
  },
);
const named = fc.dictionary(fc.constantFrom('n', 'm', 'x-1', '7', 'o p'), object, {
  minKeys: 1,
  maxKeys: 4,
  noNullPrototype: true,
});
const listener = fc.record({
  bind: scalar,
  routes: fc.array(object, { minLength: 1, maxLength: 4 }),
  more: object,
});
const file = fc.record({
  log: object,
  certificates: named,
  listeners: fc.dictionary(fc.constantFrom('main', 'b-2', '1.0'), listener, {
    minKeys: 1,
    maxKeys: 3,
    noNullPrototype: true,
  }),
  upstreams: named,
});

/** Every path in a value. */
function pathsIn(value: unknown, path: readonly (string | number)[] = []): (readonly (string | number)[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  const steps = Array.isArray(value) ? [...value.keys()] : Object.keys(value);
  return [
    path,
    ...steps.flatMap((step) => pathsIn((value as Record<string | number, unknown>)[step], [...path, step])),
  ];
}

test('a file in parts has the values and places of the whole', () => {
  const style = fc.record({
    indentSeq: fc.boolean(),
    indent: fc.constantFrom(2, 3, 4),
    lineWidth: fc.constantFrom(0, 20, 80),
  });
  fc.assert(
    fc.property(file, style, fc.constantFrom('', '# note\n\n', '---\n'), (value, options, before) => {
      const text = before + stringify(value, options);
      const parts = partsOf(text);
      if (parts === undefined) return;
      const whole = parseYaml(text, {});
      assert.deepEqual(wholeOf(parts), whole.raw);
      for (const path of pathsIn(whole.raw)) {
        for (const at of ['key', 'value'] as const)
          assert.deepEqual(parts.locate(path, at), whole.locate(path, at), `${path} in\n${text}`);
      }
    }),
    { numRuns: 300 },
  );
});

const routes = (names: readonly string[]) =>
  [
    'listeners:',
    '  main:',
    '    bind: :1',
    '    routes:',
    ...names.map((name) => `      - sni: ${name}\n        tls: passthrough`),
    'upstreams:',
    '  u: { endpoints: [a:1] }',
    '',
  ].join('\n');

test('what did not change is the same object, wherever it has moved', () => {
  const names = Array.from({ length: 50 }, (_, index) => `n${index}.example`);
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          at: fc.nat({ max: 50 }),
          gone: fc.nat({ max: 2 }),
          fresh: fc.array(fc.constantFrom('x.example', 'y.example'), { maxLength: 2 }),
        }),
        { maxLength: 3 },
      ),
      (edits) => {
        const changed = [...names];
        for (const { at, gone, fresh } of edits) changed.splice(at, gone, ...fresh);
        fc.pre(changed.length > 0);
        const before = fromText(routes(names));
        const after = partsOf(routes(changed), before);
        assert.ok(after);
        assert.deepEqual(wholeOf(after), parseYaml(routes(changed), {}).raw);
        const old = new Map((before.lists[0]?.values ?? []).map((value, index) => [names[index], value]));
        for (const [index, name] of changed.entries()) {
          if (old.has(name)) assert.equal(after.lists[0]?.values[index], old.get(name));
        }
        assert.equal(after.lists[1]?.values[0], before.lists[1]?.values[0]);
        assert.equal(after.rest, before.rest);
      },
    ),
    { numRuns: 300 },
  );
});

const goodLine = fc.constantFrom(
  '      - { sni: x.example, tls: passthrough }',
  '      - { sni: é.example, note: "日本" }',
  '      - sni: y.example',
  '      -',
  '# note: é',
  '      # note',
  '        # note',
  '',
  '   ',
);
const someLine = fc.oneof(
  { weight: 6, arbitrary: goodLine },
  fc.constantFrom(
    '        tls: off',
    '    - { sni: z.example }',
    '  - a',
    '  u: { endpoints: [b:1] }',
    '  v:',
    '    endpoints: [c:1]',
    '  other:',
    '    bind: :2',
    '    routes:',
    'listeners:',
    'upstreams:',
    'certificates:',
    '  c: { cert: a, key: b }',
    'log: { level: info }',
    '"not closed',
    '\tx',
    '---',
  ),
);
const textEdit = fc.record({
  at: fc.nat({ max: 36 }),
  gone: fc.constantFrom(0, 0, 0, 1, 2, 2, 9),
  fresh: fc.array(someLine, { maxLength: 2 }),
  /** Lines that are taken from elsewhere. */
  moved: fc.option(fc.nat({ max: 36 }), { freq: 1, nil: undefined }),
});
const ending = fc.constantFrom(...Array(6).fill('\n'), '', '\n\n', '\n# é\n', '\r\n');
const beginning = fc.constantFrom(...Array(8).fill(''), '# é\n', '\ufeff');

test('whatever is edited in a text, it is read again as at first', () => {
  let read = 0;
  const lines = routes(Array.from({ length: 14 }, (_, index) => `n${index}.example`))
    .trimEnd()
    .split('\n');
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.array(textEdit, { minLength: 1, maxLength: 2 }), beginning, ending), {
        minLength: 1,
        maxLength: 5,
      }),
      (steps) => {
        let former = fromText(`${lines.join('\n')}\n`);
        let current = lines;
        for (const [edits, begin, end] of steps) {
          const next = [...current];
          for (const { at, gone, fresh, moved } of edits) {
            const taken = moved === undefined ? [] : next.splice(moved, 1);
            next.splice(at, gone, ...fresh, ...taken);
          }
          const text = begin + next.join('\n') + end;
          const [again, first] = [partsOf(text, former), partsOf(text)];
          assert.equal(again === undefined, first === undefined, text);
          if (again === undefined || first === undefined) continue;
          read += 1;
          const shape = ({ lists }: Parts) => lists.map(({ kept: _, ...list }) => list);
          assert.deepEqual(shape(again), shape(first), text);
          const whole = wholeOf(again);
          assert.deepEqual(whole, wholeOf(first), text);
          for (const path of pathsIn(whole))
            assert.deepEqual(again.locate(path), first.locate(path), `${path} in\n${text}`);
          [former, current] = [again, next];
        }
      },
    ),
    { numRuns: 250 },
  );
  assert.ok(read > 120, `${read} read`);
});

test('of a long list only what is near a change is read again', () => {
  const names = Array.from({ length: 5000 }, (_, index) => `n${index}.example`);
  const before = fromText(routes(names));
  for (const at of [1, 2500, 4999]) {
    for (const changed of [
      names.with(at, 'x.example'),
      names.toSpliced(at, 1),
      names.toSpliced(at, 0, 'x.example', 'y.example'),
    ]) {
      const { kept, starts } = partsOf(routes(changed), before)?.lists[0] ?? {};
      assert.ok(kept && starts && starts.length - kept.head - kept.tail <= 4);
    }
  }
});

for (const [what, text] of Object.entries({
  'a name that is written twice': 'upstreams:\n  a: { x: 1 }\n  a: { x: 2 }\n',
  'a section that is written twice': 'upstreams:\n  a: 1\nupstreams:\n  b: 1\n',
  'an alias to another part': 'upstreams:\n  a: &x { y: 1 }\n  b: *x\n',
  'text that is not closed': 'listeners:\n  m:\n    routes:\n      - a: "b\n      - c: d"\n',
  'a list that is not closed': 'listeners:\n  m:\n    routes:\n      - a: [b\n      - c]\n',
  'a second document': 'upstreams:\n  a: 1\n---\nb: 1\n',
  'a directive': '%YAML 1.1\n---\nupstreams:\n  a: yes\n',
  'a variable that is not set': `upstreams:\n  a: \${NONE_SUCH}\n`,
})) {
  test(`${what}: left to the full parser`, () => assert.equal(partsOf(text), undefined));
}
