/**
 * Each `penstock …` and `npm run …` in the pages, in a block or within a sentence, names a command that there is, with flags that
 * it has; those in blocks have all arguments that it needs, too.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { misuse } from '../support/command-help.ts';
import { blocks, inlineCode, pages } from '../support/pages.ts';
import { simpleCommands } from '../support/shell-words.ts';

const root = join(import.meta.dirname, '../..');
const scripts: Readonly<Record<string, string>> = JSON.parse(
  readFileSync(join(root, 'package.json'), 'utf8'),
).scripts;
/** They run what follows them. */
const wrappers = ['setpriv', 'systemd-socket-activate', 'sudo', 'timeout'];

test('in blocks', async (t) => {
  const found = blocks().filter(({ language }) => language === 'sh');
  assert.ok(found.length > 50);
  for (const page of pages) {
    await t.test(page, async () => {
      const faults: string[] = [];
      for (const { line, text } of found.filter((block) => block.page === page))
        for (const words of simpleCommands(text)) faults.push(...(await faultOf(words, false, line)));
      assert.deepEqual(faults, []);
    });
  }
});

test('within sentences', async () => {
  const found = inlineCode().filter(({ text }) => /^(penstock|npm (run|test|start)) /.test(text));
  assert.ok(found.length > 20);
  const faults: string[] = [];
  for (const { page, line, text } of found)
    for (const words of simpleCommands(text.replace('…', '')))
      for (const fault of await faultOf(words, true, line)) faults.push(`${page}: ${fault}`);
  assert.deepEqual(faults, []);
});

test('what is checked can fail', async () => {
  const commands = simpleCommands(
    'penstock chekc; A=1 penstock check --jsn # no\npenstock pki issue dir && sudo penstock top --admin \\\n :1 x | wc\nnpm run nothing',
  );
  const faults = (await Promise.all(commands.map((words) => faultOf(words, false, 1)))).flat();
  assert.deepEqual(faults, [
    'line 1: penstock has no command chekc',
    'line 1: penstock check has no --jsn',
    'line 1: penstock pki issue needs 2 arguments, not 1',
    'line 1: penstock top takes 0 arguments, not 1',
    'line 1: there is no npm script nothing',
  ]);
});

/** In a list that is empty if there is none. `line` is where the block begins. */
async function faultOf(all: readonly string[], loose: boolean, line: number): Promise<string[]> {
  const words = all.slice(all.findIndex((word) => !/^\w+=/.test(word)));
  const at = wrappers.includes(words[0] ?? '') ? words.findIndex(isPenstock) : 0;
  const fault = isPenstock(words[at] ?? '')
    ? await misuse(words.slice(at + 1), loose)
    : await npmFault(words, loose);
  return fault === undefined ? [] : [`line ${line}: ${fault}`];
}

function isPenstock(word: string): boolean {
  return word === 'penstock' || word.endsWith('/bin/penstock');
}

async function npmFault(
  [npm, run, ...words]: readonly string[],
  loose: boolean,
): Promise<string | undefined> {
  if (npm !== 'npm' || run !== 'run') return undefined;
  const [name = '', ...rest] = words.filter((word) => word !== '-s');
  const script = scripts[name];
  if (script === undefined) return name === '' && loose ? undefined : `there is no npm script ${name}`;
  const given = rest[0] === '--' ? rest.slice(1) : rest;
  if (/src\/main\.ts( load)?$/.test(script))
    return misuse(name === 'load' ? ['load', ...given] : given, loose);
  const source = sourceOf(script);
  const unknown = given.find((word) => /^--[a-z]/.test(word) && !source.includes(word.slice(2)));
  return unknown === undefined ? undefined : `npm run ${name} has no ${unknown}`;
}

/** The text of the files beside the one that an npm script runs. */
function sourceOf(script: string): string {
  const file = /(\S+\.ts)\b/.exec(script)?.[1] ?? '';
  return globSync(`${dirname(file)}/*.ts`, { cwd: root })
    .map((path) => readFileSync(join(root, path), 'utf8'))
    .join('\n');
}
