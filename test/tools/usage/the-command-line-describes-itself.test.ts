/**
 * `penstock completion` and `penstock man` know what `--help` knows: bash completes commands, options and values by the script;
 * the scripts of the other shells and the manual page name every command and option.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { temporaryDirectory } from '../../support/certificates.ts';
import { usageOf } from '../../support/command-help.ts';
import { penstockCommand } from '../../support/penstock-command.ts';

const outputs = new Map<string, string>();

before(async () => {
  const asked = ['bash', 'zsh', 'fish'].map(async (shell) => {
    const { code, stdout } = await penstockCommand(['completion', shell]);
    assert.equal(code, 0);
    outputs.set(shell, stdout);
  });
  const manual = penstockCommand(['man']).then(({ stdout }) => void outputs.set('man', stdout));
  await Promise.all([...asked, manual]);
});

test('bash completes commands, options, their values and files', (t) => {
  const directory = temporaryDirectory(t);
  const script = join(directory, 'penstock.bash');
  writeFileSync(script, outputs.get('bash') ?? '');
  writeFileSync(join(directory, 'here.yaml'), '');
  const complete = (...words: string[]): string[] => {
    const all = ['penstock', ...words];
    const program = `source ${script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _penstock; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return execFileSync('bash', ['--norc', '-c', program, 'bash', ...all], {
      cwd: directory,
      encoding: 'utf8',
    })
      .split('\n')
      .filter((line) => line !== '');
  };
  assert.deepEqual(complete('un'), ['undrain']);
  assert.deepEqual(complete('pki', 'i').sort(), ['init', 'issue']);
  assert.deepEqual(complete('check', '--st').sort(), ['--stored', '--strict']);
  assert.deepEqual(complete('check', '-c', 'he'), ['here.yaml']);
  assert.deepEqual(complete('log-level', 'de'), ['debug']);
  assert.deepEqual(complete('completion', '').sort(), ['bash', 'fish', 'zsh']);
  assert.deepEqual(complete('sessions', '--listener', ''), []);
  assert.deepEqual(complete('fmt', 'here'), ['here.yaml']);
});

test('every command and option of --help is in the manual, and known to zsh and fish', async () => {
  const { subcommands } = await usageOf([]);
  const manual = (outputs.get('man') ?? '').replaceAll('\\-', '-');
  const [zsh = '', fish = ''] = [outputs.get('zsh'), outputs.get('fish')];
  const names = [...subcommands].filter((name) => name !== 'help');
  assert.ok(names.length > 15);
  const usages = await Promise.all(names.map((name) => usageOf([name])));
  for (const [index, name] of names.entries()) {
    assert.ok(manual.includes(`.SS penstock ${name}`), name);
    assert.ok(zsh.includes(`'${name}'`) && fish.includes(`'${name}'`), name);
    for (const flag of usages[index]?.flags.keys() ?? []) {
      assert.ok(manual.includes(flag), `${flag} in the manual`);
      assert.ok(zsh.includes(`'${flag}:`), `${flag} for zsh`);
      assert.ok(fish.includes(flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`), flag);
    }
  }
});
