/**
 * Every code has one row in docs/errors.md, in the section of its phase, with a meaning, a fault and a way out; no row is of
 * a code that does not exist; every code is used by the source, and some test makes it happen with a running penstock.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { connectionCodes, processCodes } from '../../src/errors.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const files = (pattern: string): string[] => globSync(pattern, { cwd: root });
const codes: readonly string[] = [...connectionCodes, ...processCodes];

/** Whether a text holds the code, and not only a longer one that begins alike. */
const names = (text: string, code: string): boolean => new RegExp(`\\b${code}\\b`).test(text);

test('one row for each code, none for others', () => {
  const rows = read('docs/errors.md').match(/^\| `ERR_.*$/gm) ?? [];
  const described = rows.map((row) => row.split('|').map((cell) => cell.trim()));
  assert.deepEqual(described.map(([, code]) => code?.replaceAll('`', '')).sort(), [...codes].sort());
  for (const [, code, ...cells] of described) {
    assert.equal(cells.length, 4, `${code}: the row has other cells than meaning, fault, and what to do`);
    for (const cell of cells.slice(0, 3)) assert.notEqual(cell, '', `${code} has an empty cell`);
  }
});

test('the rows have the order of the codes', () => {
  const rows = [...read('docs/errors.md').matchAll(/^\| `(ERR_\w+)`/gm)].map(([, code]) => code);
  assert.deepEqual(rows, codes);
});

test('no code that nothing ends with', () => {
  const source = files('src/**/*.ts')
    .filter((file) => basename(file) !== 'errors.ts')
    .map(read)
    .join('\n');
  assert.deepEqual(
    codes.filter((code) => !names(source, code)),
    [],
  );
});

test('each is made to happen for real', () => {
  // A real one: sockets, and the whole way from accept to the log (or, for the process, from the file to the fault).
  const real =
    /\b(startProxy|startTerminating|startPenstock|spawnPenstock|startApi|startWorker|createSupervisor|loadConfig)\b|main\.ts/;
  const seen = files('test/**/*.ts')
    .filter((file) => file !== join('test', 'docs', basename(import.meta.filename)))
    .filter((file) => /\.(test|services)\.ts$/.test(file))
    .map(read)
    .filter((text) => real.test(text))
    .join('\n');
  assert.deepEqual(
    codes.filter((code) => !names(seen, code)),
    [],
  );
});
