/** `-c -`, `-c DIR` and `--no-keys`: a configuration is checked from a pipe, a directory, and where its keys are not. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { penstockCommand } from '../support/penstock-command.ts';

let cert = '';

before(async () => {
  const ca = await createAuthority();
  cert = (await ca.issue({ dns: ['orders.test'] })).chain;
});

const text = `
certificates: { orders: { cert: orders.crt, key: not-here.key } }
session_tickets: { keys: not-here-either }
listeners:
  databases:
    bind: 127.0.0.1:5432
    routes: [{ sni: orders.test, tls: { certificates: orders }, upstream: orders }]
upstreams: { orders: { endpoints: ["127.0.0.1:5433"] } }
`;

test('without keys, all but the keys is checked, and clients are explained', async (t) => {
  const directory = temporaryDirectory(t);
  writeFiles(directory, { 'orders.crt': cert, 'penstock.yaml': text });
  const file = join(directory, 'penstock.yaml');
  writeFileSync(
    join(directory, 'cases.yaml'),
    'cases: [{ client: { listener: databases, sni: orders.test }, expect: { route: 0 } }]\n',
  );
  const run = (...args: string[]) => penstockCommand(args, { cwd: directory });
  const [withKeys, checked, explained, tested] = await Promise.all([
    run('check', '-c', file),
    run('check', '-c', directory, '--no-keys'),
    run('explain', '-c', file, '--no-keys', '--sni', 'orders.test', '--tls', '1.3'),
    run('test', 'cases.yaml', '-c', file, '--no-keys'),
  ]);
  assert.equal(withKeys.code, 2);
  assert.match(withKeys.stderr, /not-here\.key does not exist/);
  assert.equal(checked.code, 0, checked.stderr);
  assert.match(checked.stdout, /^orders +ec /m);
  assert.match(checked.stdout, /penstock\.yaml is valid.*; its keys were not checked\n$/);
  assert.equal(explained.code, 0, explained.stderr);
  assert.match(explained.stdout, /orders\.test/);
  assert.equal(tested.code, 0, tested.stderr + tested.stdout);
});

test('a configuration is read from standard input, and is relative to the current directory', async (t) => {
  const directory = temporaryDirectory(t);
  writeFiles(directory, { 'orders.crt': cert });
  const { code, stdout } = await penstockCommand(['check', '-c', '-', '--no-keys'], {
    cwd: directory,
    input: text,
  });
  assert.equal(code, 0);
  assert.match(stdout, /standard input is valid/);
  const faulty = await penstockCommand(['check', '-c', '-', '--no-keys'], {
    cwd: directory,
    input: text.replace('upstream: orders', 'upstream: order'),
  });
  assert.equal(faulty.code, 2);
  assert.match(
    faulty.stderr,
    /^standard input:7:\d+ listeners\.databases\.routes\[0\]\.upstream: no upstream is called "order"/,
  );
});
