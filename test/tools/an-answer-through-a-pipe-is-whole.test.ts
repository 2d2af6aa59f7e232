/** What a command prints reaches a slow reader to the last line, also where it is more than a pipe holds; as in `| head`, none has to. */
import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { temporaryDirectory } from '../support/certificates.ts';
import { penstockMain } from '../support/penstock.ts';

const count = 5000;

function checked(t: TestContext): ChildProcessByStdio<null, Readable, Readable> {
  const directory = temporaryDirectory(t);
  const routes = Array.from(
    { length: count },
    (_, index) => `{ sni: "tenant-${index}.example", tls: passthrough, upstream: db }`,
  );
  writeFileSync(
    join(directory, 'penstock.yaml'),
    `listeners: { in: { bind: "127.0.0.1:5432", routes: [${routes.join(', ')}] } }
upstreams: { db: { endpoints: ["10.0.0.1:5432"] } }
`,
  );
  return spawn(process.execPath, [penstockMain, 'check'], {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

test('check, of thousands of routes', async (t) => {
  const child = checked(t);
  const ended = once(child, 'exit');
  await once(child.stdout, 'readable');
  // It is done long before.
  await sleep(1000);
  const lines = (await text(child.stdout)).trimEnd().split('\n');
  assert.equal(lines.filter((line) => line.includes('tenant-')).length, count);
  assert.equal(lines.at(-1), 'penstock.yaml is valid');
  assert.deepEqual(await ended, [0, null]);
});

test('a reader that has seen enough is no error', async (t) => {
  const child = checked(t);
  const told = text(child.stderr);
  const ended = once(child, 'exit');
  await once(child.stdout, 'readable');
  child.stdout.destroy();
  assert.deepEqual(await ended, [0, null]);
  assert.equal(await told, '');
});
