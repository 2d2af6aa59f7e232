/**
 * `penstock demo` is the first thing that a newcomer sees. Proves that in an empty directory it makes its PKI, connects
 * through every mode by itself and finds it working; that it uses the ports asked for, and others where those are taken; that it serves until
 * it is told to stop; and that it tells when something is wrong.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import test from 'node:test';
import { sayHello } from '../../src/tools/demo/client.ts';
import { temporaryDirectory } from '../support/certificates.ts';
import { penstockMain } from '../support/penstock.ts';
import { penstockCommand } from '../support/penstock-command.ts';
import { closedPort } from '../support/upstream.ts';

/** Starts it; nobody waits for it to end. */
function startDemo(
  directory: string,
  ...options: string[]
): ChildProcess & { stdout: NodeJS.ReadableStream } {
  const child = spawn(process.execPath, [penstockMain, 'demo', '--no-mysql', ...options], {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return child as ChildProcess & { stdout: NodeJS.ReadableStream };
}

async function runDemo(directory: string): Promise<{ code: number; output: string }> {
  const child = startDemo(directory, '--exit');
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  return { code, output };
}

test('all six modes work in an empty directory, and again with the same PKI', async (t) => {
  const directory = temporaryDirectory(t);
  const first = await runDemo(directory);
  assert.equal(first.code, 0, first.output);
  assert.match(first.output, /PKI made in \.penstock-demo\//);
  assert.match(first.output, /✓ All six modes work\./);
  assert.doesNotMatch(first.output, /✗/);
  const titles = [...first.output.matchAll(/^\d\. .*?(?= {2})/gm)].map(String);
  assert.deepEqual(titles, [
    '1. Terminate',
    '2. Mutual TLS by PKI',
    '3. Mutual TLS by pin',
    '4. Passthrough',
    '5. Re-wrap to mutual TLS',
    '6. PostgreSQL',
  ]);
  const tooLong = first.output.split('\n').filter((line) => line.length > 80);
  assert.deepEqual(tooLong, [], 'it fits a terminal of 80 columns');
  const ca = readFileSync(join(directory, '.penstock-demo/ca.crt'), 'utf8');
  const again = await runDemo(directory);
  assert.equal(again.code, 0, again.output);
  assert.match(again.output, /PKI found/);
  assert.equal(readFileSync(join(directory, '.penstock-demo/ca.crt'), 'utf8'), ca);
});

test('keys are for their owner only, and a PKI that is not whole is made anew', async (t) => {
  const directory = temporaryDirectory(t);
  await runDemo(directory);
  const files = join(directory, '.penstock-demo');
  assert.equal(statSync(files).mode & 0o777, 0o700);
  const keys = readdirSync(files).filter((file) => file.endsWith('.key'));
  assert.ok(keys.length > 0);
  for (const key of keys) assert.equal(statSync(join(files, key)).mode & 0o777, 0o600, key);

  writeFileSync(join(files, 'alice.key'), readFileSync(join(files, 'bob.key')));
  const { code, output } = await runDemo(directory);
  assert.equal(code, 0, output);
  assert.match(output, /PKI made/);
});

test('it serves on until it is told to stop, on other ports where its own are taken', async (t) => {
  const directory = temporaryDirectory(t);
  const squatter = createServer().listen(7001, '127.0.0.1');
  t.after(() => squatter.close());
  // Should it be taken by somebody else, that is as good.
  await Promise.race([once(squatter, 'listening'), once(squatter, 'error')]).catch(() => {});

  const child = startDemo(directory);
  t.after(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  let output = '';
  for await (const chunk of child.stdout) {
    output += chunk;
    if (output.includes('Serving until Ctrl-C.')) break;
  }
  assert.match(output, /taken by another process: 7001/);
  const port = Number(/1\. Terminate +127\.0\.0\.1:(\d+)/.exec(output)?.[1]);
  assert.notEqual(port, 7001);
  const ca = readFileSync(join(directory, '.penstock-demo/ca.crt'), 'utf8');
  const outcome = await sayHello({ port, name: 'echo.demo.test', ca });
  assert.match(
    outcome.answer,
    /^you are 127\.0\.0\.1:\d+, here for echo\.demo\.test over TLSv1\.3\nyou said: hello\n$/,
  );

  child.kill('SIGINT');
  assert.deepEqual(await exited, [0, null]);
});

test('its ports can be chosen, and bob’s command is refused as it says', async (t) => {
  const directory = temporaryDirectory(t);
  const port = await closedPort();
  const child = startDemo(directory, '--port', String(port));
  t.after(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  let output = '';
  for await (const chunk of child.stdout) {
    output += chunk;
    if (output.includes('Serving until Ctrl-C.')) break;
  }
  assert.match(output, new RegExp(`1\\. Terminate +127\\.0\\.0\\.1:${port}\n`));
  const [, command = ''] = /^(?= {3}echo(?:.*\\\n){2}.*bob)((?:.*\\\n)+.*)$/m.exec(output) ?? [];
  assert.match(command, /bob\.key/);
  const pasted = spawn('/bin/sh', ['-c', command], { cwd: directory });
  const said = await text(pasted.stderr);
  assert.match(said, /alert access denied/);
  child.kill('SIGINT');
  assert.deepEqual(await exited, [0, null]);
});

test('where it cannot write it says so', async (t) => {
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, '.penstock-demo'), 'in the way');
  const { code, stderr } = await penstockCommand(['demo', '--exit', '--no-mysql'], { cwd: directory });
  assert.equal(code, 1);
  assert.match(stderr, /^penstock: .*\.penstock-demo/);
  assert.doesNotMatch(stderr, / at /);
});
