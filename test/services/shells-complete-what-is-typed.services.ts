/** `penstock completion` in the shells that it is for: zsh and fish complete commands, options and values by its scripts. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { penstockCommand } from '../support/penstock-command.ts';
import { run } from './process.ts';

const cases = [
  ['un', ['undrain']],
  ['pki i', ['init', 'issue']],
  ['check --str', ['--strict']],
  ['log-level de', ['debug']],
  ['completion f', ['fish']],
  ['check --config here', ['here.yaml']],
  ['sessions --listener h', []],
] as const;

/** What a shell offers, by what was typed. */
async function offers(t: Parameters<typeof temporaryDirectory>[0], shell: string, program: string) {
  const directory = temporaryDirectory(t);
  const { stdout: script } = await penstockCommand(['completion', shell]);
  writeFileSync(join(directory, 'script'), script);
  writeFileSync(join(directory, 'here.yaml'), '');
  const { stdout, stderr } = await run(
    shell,
    shell === 'fish' ? ['--no-config', '-c', program] : ['-f', '-c', program],
    {
      cwd: directory,
      env: { HOME: directory },
    },
  );
  const blocks = stdout.split('== ').slice(1);
  return {
    blocks: blocks.map((block) =>
      block
        .split('\n')
        .slice(1)
        .filter((line) => line !== ''),
    ),
    stderr,
  };
}

test('fish', async (t) => {
  const asked = cases.map(([typed]) => `echo '== ${typed}'; complete -C 'penstock ${typed}'`);
  const { blocks, stderr } = await offers(t, 'fish', `source script; ${asked.join('; ')}`);
  assert.doesNotMatch(stderr, /error|Unknown/i);
  for (const [index, [typed, expected]] of cases.entries()) {
    const words = blocks[index]?.map((line) => line.split('\t')[0] ?? '') ?? [];
    assert.deepEqual(words.sort(), [...expected], typed);
  }
});

test('zsh', async (t) => {
  // Without its editor, what completes words stands in for `_describe` and the like.
  const stubs = [
    'compdef() { }',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a parameter of zsh.
    '_describe() { for it in "${(@P)2}"; do compadd -- "${it%%:*}"; done }',
    'compadd() { for it in "$@"; do [[ $it == "$PREFIX"* && $it != -- ]] && print -r -- "$it"; done; true }',
    '_files() { compadd -- *(N) }',
    '_message() { }',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a parameter of zsh.
    'try() { print "== $*"; words=(penstock "$@"); CURRENT=$#words; PREFIX=${words[-1]}; _penstock; }',
  ];
  const asked = cases.map(([typed]) => `try ${typed}`);
  const { blocks, stderr } = await offers(t, 'zsh', [...stubs, 'source ./script', ...asked].join('\n'));
  assert.equal(stderr, '');
  for (const [index, [typed, expected]] of cases.entries()) {
    assert.deepEqual(blocks[index]?.sort(), [...expected], typed);
  }
});
