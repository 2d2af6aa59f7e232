/** `penstock fmt`: the same values and comments in one layout, stable, variables as they are written, and faults with their place. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { formatYaml } from '../../../src/tools/format/format.ts';
import { temporaryDirectory } from '../../support/certificates.ts';
import { blocks } from '../../support/pages.ts';
import { penstockCommand } from '../../support/penstock-command.ts';

const untidy = `# what it serves
listeners:
    databases:
          bind:   "0.0.0.0:5432"    # everybody


          limits: {connections: \${MAX:-10},   handshakes: off}
          routes:
          - {sni: 'a.test', tls: passthrough, upstream: a}
upstreams: {a: {endpoints: [ '10.0.0.1:1' ]}}
`;

const tidy = `# what it serves
listeners:
  databases:
    bind: "0.0.0.0:5432" # everybody

    limits: { connections: \${MAX:-10}, handshakes: off }
    routes:
      - { sni: 'a.test', tls: passthrough, upstream: a }
upstreams: { a: { endpoints: [ '10.0.0.1:1' ] } }
`;

test('indentation, spaces and blank lines become one layout; comments, quotes and variables stay', () => {
  assert.equal(formatYaml(untidy, 'penstock.yaml'), tidy);
  assert.equal(formatYaml(tidy, 'penstock.yaml'), tidy);
});

test('no configuration of the documents means anything else afterwards', () => {
  const yaml = blocks().filter(({ language }) => language === 'yaml');
  const example = readFileSync(join(import.meta.dirname, '../../../config/penstock.example.yaml'), 'utf8');
  const texts = [...yaml.map(({ text }) => text), example];
  for (const text of texts) {
    const formatted = formatYaml(text, 'x');
    assert.deepEqual(parse(formatted), parse(text));
    assert.equal(formatYaml(formatted, 'x'), formatted);
    const comments = (of: string) => of.match(/#.*/g)?.map((comment) => comment.trimEnd()) ?? [];
    assert.deepEqual(comments(formatted), comments(text));
  }
  assert.ok(texts.length > 30);
});

test('files are changed only if asked to, and faults are named', async (t) => {
  const directory = temporaryDirectory(t);
  const [file, faulty] = ['penstock.yaml', 'faulty.yaml'].map((name) => join(directory, name)) as [
    string,
    string,
  ];
  writeFileSync(file, untidy);
  writeFileSync(faulty, 'listeners: [\n');
  const run = (...args: string[]) => penstockCommand(['fmt', ...args], { cwd: directory, input: untidy });
  const [printed, checked, piped, wrong] = await Promise.all([
    run(),
    run('--check', file),
    run('-'),
    run('--check', faulty, file),
  ]);
  assert.deepEqual([printed.code, printed.stdout], [0, tidy]);
  assert.deepEqual([checked.code, checked.stdout], [1, `${file}\n`]);
  assert.deepEqual([piped.code, piped.stdout], [0, tidy]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /faulty\.yaml:\d+:\d+: /);
  assert.equal(readFileSync(file, 'utf8'), untidy);
  assert.equal((await run('--write', file)).code, 0);
  assert.equal(readFileSync(file, 'utf8'), tidy);
});
