/** Proves that the demo starts the MariaDB that is installed, logs in to it over TLS, is refused without, and that its command to paste works. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { penstockMain } from '../support/penstock.ts';
import { launch, run } from './process.ts';

test('a seventh mode', async (t) => {
  const directory = temporaryDirectory(t);
  const demo = launch(process.execPath, [penstockMain, 'demo', '--port', '7301'], { cwd: directory });
  t.after(() => demo.child.kill('SIGKILL'));
  await eventually(() => assert.match(demo.output(), /Serving until Ctrl-C/), 60_000);
  const output = demo.stdout();
  assert.match(
    output,
    /7\. MySQL and MariaDB .*\n(?:.*\n)+? {3}✓ TLS: demo@localhost\n {3}✓ plain text: refused: ERROR 3159/,
  );
  assert.match(output, /✓ All seven modes work\./);
  const [command = ''] = /^ {3}mariadb (?:.*\\\n)+.*$/m.exec(output) ?? [];
  const pasted = await run('sh', ['-c', command], { cwd: directory });
  assert.match(pasted.stdout, /demo@localhost/, pasted.stderr);
  demo.child.kill('SIGINT');
  assert.equal((await demo.finished).code, 0);
  // MariaDB removes it when it ends.
  assert.equal(existsSync(join(directory, '.penstock-demo/mariadb/socket')), false);
});
