/**
 * Proves of the command line of `penstock import`: the configuration on stdout or in a file, notes on stderr, the exit codes;
 * keys are written for their owner alone and never printed; paths are those of the place where the result is written; and what
 * comes out is what `penstock check` calls valid.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parse } from 'yaml';
import { createAuthority, temporaryDirectory, writeFiles } from '../../support/certificates.ts';
import { penstockMain } from '../../support/penstock.ts';

function penstock(cwd: string, args: readonly string[], input?: string) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [penstockMain, ...args], {
    cwd,
    encoding: 'utf8',
    ...(input !== undefined && { input }),
  });
  return { code: status, stdout, stderr };
}

const haproxy = 'listen a\n  bind 127.0.0.1:1234\n  server s 10.0.0.1:1\n';

async function apisix(t: TestContext): Promise<{ directory: string; keys: string[] }> {
  const directory = temporaryDirectory(t);
  const authority = await createAuthority();
  const [own, up] = [
    await authority.issue({ dns: ['a.example'] }),
    await authority.issue({ usage: 'client' }),
  ];
  const nodes = { '10.0.0.1:1': 1 };
  const tls = { client_cert: up.chain, client_key: up.key };
  writeFiles(directory, {
    'ssls.json': JSON.stringify({
      total: 1,
      list: [
        {
          key: '/apisix/ssls/1',
          value: { sni: 'a.example', cert: own.chain, key: own.key, client: { ca: authority.cert } },
        },
      ],
    }),
    'route.json': JSON.stringify({
      key: '/apisix/stream_routes/5',
      value: { sni: 'a.example', upstream: { nodes, scheme: 'tls', tls } },
    }),
    'config.yaml': 'apisix: { stream_proxy: { tcp: [{ addr: "127.0.0.1:9100", tls: true }] } }\n',
  });
  return { directory, keys: [own.key, up.key] };
}

const sources = ['ssls.json', 'route.json', 'config.yaml'];

test('certificates and keys that APISIX holds', async (t) => {
  const { directory, keys } = await apisix(t);
  const args = ['import', 'apisix', ...sources];
  const bare = penstock(directory, args);
  assert.equal(bare.code, 0, bare.stderr);
  assert.match(
    bare.stderr,
    /ssls\.json:\d+: not carried over: list\[0\]\.value\.key: .*--certificates DIR writes it/,
  );
  assert.equal(existsSync(join(directory, 'certificates')), false, 'nothing is written unasked');
  const written = penstock(directory, [
    ...args,
    '--certificates',
    'sub/tls',
    '-o',
    'sub/penstock.yaml',
    '--strict',
  ]);
  assert.deepEqual([written.code, written.stdout], [0, ''], written.stderr);
  for (const text of [
    bare.stdout,
    bare.stderr,
    written.stderr,
    readFileSync(join(directory, 'sub/penstock.yaml'), 'utf8'),
  ]) {
    for (const key of keys)
      assert.equal(text.includes(key.split('\n')[1] ?? key), false, 'a key was printed');
  }
  const { certificates } = parse(readFileSync(join(directory, 'sub/penstock.yaml'), 'utf8'));
  assert.deepEqual(certificates['a.example'], { cert: 'tls/a.example.crt', key: 'tls/a.example.key' });
  const again = penstock(directory, [...args, '--certificates', 'sub/tls', '-o', 'new.yaml']);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /sub\/tls\/a\.example\.key is there already; --force replaces it\n/);
  assert.equal(existsSync(join(directory, 'new.yaml')), false, 'nothing is written beside what stays');
  assert.equal(statSync(join(directory, 'sub/tls/a.example.key')).mode & 0o777, 0o600);
  assert.equal(statSync(join(directory, 'sub/tls/route-5-client.key')).mode & 0o777, 0o600);
  const checked = penstock(directory, ['check', '-c', 'sub/penstock.yaml']);
  assert.equal(checked.code, 0, checked.stderr);
  assert.match(checked.stderr, /verify: warning: anyone can impersonate this upstream/);
});

test('paths are relative to where the result is written', (t) => {
  const directory = temporaryDirectory(t);
  mkdirSync(join(directory, 'etc'));
  writeFileSync(
    join(directory, 'etc/haproxy.cfg'),
    'listen a\n  bind 127.0.0.1:1234 ssl crt own/a.pem ca-file /abs/ca.pem verify required\n  server s 10.0.0.1:1\n',
  );
  const config = (args: readonly string[]) => {
    const { code, stdout } = penstock(directory, ['import', 'haproxy', 'etc/haproxy.cfg', ...args]);
    assert.equal(code, 0);
    return parse(stdout === '' ? readFileSync(join(directory, 'etc/penstock.yaml'), 'utf8') : stdout);
  };
  assert.deepEqual(config([]).certificates.a, { cert: 'etc/own/a.pem', key: 'etc/own/a.pem' });
  const beside = config(['-o', 'etc/penstock.yaml']);
  assert.deepEqual(beside.certificates.a, { cert: 'own/a.pem', key: 'own/a.pem' });
  assert.deepEqual(beside.authorities.clients, { ca: '/abs/ca.pem' });
});

test('a file that is there is replaced only if that was asked for', (t) => {
  const directory = temporaryDirectory(t);
  const file = join(directory, 'penstock.yaml');
  const write = (...args: string[]) =>
    penstock(directory, ['import', 'haproxy', '-', '-o', 'penstock.yaml', ...args], haproxy);
  writeFileSync(file, '# mine\n');
  assert.deepEqual(write(), {
    code: 1,
    stdout: '',
    stderr: 'penstock.yaml is there already; --force replaces it\n',
  });
  assert.equal(readFileSync(file, 'utf8'), '# mine\n');
  assert.equal(write('--force').code, 0);
  assert.match(readFileSync(file, 'utf8'), /^listeners:/m);
  // As `mktemp` makes it.
  writeFileSync(file, '');
  assert.equal(write().code, 0);
});

test('commands find a penstock that runs with it, on a port that no listener has', (t) => {
  const directory = temporaryDirectory(t);
  const from = (text: string) => penstock(directory, ['import', 'haproxy', '-'], text).stdout;
  assert.match(from(haproxy), /^# For `penstock top` .*\nadmin:\n {2}bind: 127\.0\.0\.1:9901\n/m);
  const taken = parse(from('listen a\n  bind :9901\n  bind :9902\n  server s 10.0.0.1:1\n'));
  assert.equal(taken.admin.bind, '127.0.0.1:9903');
});

test('the exit code says how it went', (t) => {
  const directory = temporaryDirectory(t);
  const codeOf = (text: string, args: readonly string[] = [], kind = 'haproxy') =>
    penstock(directory, ['import', kind, '-', ...args], text).code;
  assert.equal(codeOf(haproxy, ['--strict']), 0);
  assert.equal(codeOf(`${haproxy}  stick on src\n`), 0);
  assert.equal(codeOf(`${haproxy}  stick on src\n`, ['--strict']), 1);
  writeFileSync(join(directory, 'file'), '');
  assert.equal(codeOf(haproxy, ['-o', 'file/below']), 1);
  assert.equal(codeOf('not a configuration'), 2);
  assert.equal(codeOf('listen a\n  bind "unclosed\n'), 2);
  assert.equal(codeOf('{"a": 1}', [], 'apisix'), 2);
  assert.equal(codeOf('{', [], 'apisix'), 2);
  const missing = penstock(directory, ['import', 'haproxy', 'no-such.cfg']);
  assert.deepEqual([missing.code, missing.stderr], [2, 'no-such.cfg: it cannot be read (ENOENT)\n']);
  assert.equal(penstock(directory, ['import', 'nginx', 'a']).code, 2);
  assert.equal(penstock(directory, ['import', 'haproxy']).code, 2);
});

test('what it is told to write to stays what it is: a link a link, a device a device', (t) => {
  const directory = temporaryDirectory(t);
  const at = (name: string) => join(directory, name);
  writeFileSync(at('haproxy.cfg'), haproxy);
  writeFileSync(at('behind'), '');
  symlinkSync('behind', at('link'));
  const write = (name: string) => penstock(directory, ['import', 'haproxy', 'haproxy.cfg', '-o', name]).code;
  assert.equal(write('link'), 0);
  assert.ok(lstatSync(at('link')).isSymbolicLink());
  assert.match(readFileSync(at('behind'), 'utf8'), /^listeners:/m);
  // Only root may make one, and then it is one of our own: this machine still needs its /dev/null.
  if (spawnSync('mknod', [at('null'), 'c', '1', '3']).status !== 0) return;
  assert.equal(write('null'), 0);
  assert.ok(lstatSync(at('null')).isCharacterDevice());
});
