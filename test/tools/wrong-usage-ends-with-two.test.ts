/**
 * Of a command line that is wrong every command tells what is wrong, on stderr, and ends with 2, having done nothing; of
 * one that is right it ends with 0. `explain` ends with 0 whenever it could explain, refusals included.
 */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { penstockCommand } from '../support/penstock-command.ts';

const penstock = (cwd: string, ...args: string[]) => penstockCommand(args, { cwd });

function withConfiguration(t: TestContext): string {
  const directory = temporaryDirectory(t);
  const routes =
    '[{ sni: orders.example, deny: true }, { sni: "*.example", tls: passthrough, upstream: db }]';
  writeFileSync(
    join(directory, 'penstock.yaml'),
    `listeners:
  databases: { bind: "127.0.0.1:5432", routes: ${routes} }
  plain: { bind: "127.0.0.1:6380", routes: [{ tls: off, upstream: db }] }
upstreams: { db: { endpoints: ["10.0.0.1:5432"] } }
`,
  );
  writeFileSync(join(directory, 'faulty.yaml'), 'listeners: {}\n');
  writeFileSync(join(directory, 'other.log'), '{"msg":"connection","listener":"gone","client":"unix"}\n');
  return directory;
}

const databases = ['explain', '--listener', 'databases'];
const faults: readonly [args: string[], told: RegExp][] = [
  [['explain'], /required option '--listener <name>' not specified/],
  [
    ['explain', '--listener', 'databses'],
    /^error: no listener is called "databses"; did you mean "databases"\?\n$/,
  ],
  [
    ['explain', '--listener', 'toString'],
    /^error: no listener is called "toString"; there are: databases, plain\n$/,
  ],
  [[...databases, '--form', '10.0.0.1'], /unknown option '--form'\n\(Did you mean --from\?\)/],
  [[...databases, '--from', '10.0.0.256'], /^error: --from 10\.0\.0\.256: expected an address such as/],
  [[...databases, '--sni', '*.example'], /^error: --sni \*\.example: expected a name such as/],
  [[...databases, '--sni', 'a..example'], /^error: --sni a\.\.example: expected a name/],
  [[...databases, '--plain', '--sni', 'a.example'], /^error: --plain and --sni exclude each other/],
  [[...databases, '--peer', '10.0.0.1'], /^error: --peer: listener databases reads no PROXY headers/],
  [
    [...databases, '--plain', '--client-cert', 'none'],
    /^error: --plain and --client-cert exclude each other/,
  ],
  [[...databases, '--hello', '-', '--sni', 'a.example'], /^error: --hello and --sni exclude each other/],
  [[...databases, '--log-line', '-', '--hello', '-'], /^error: --hello and --log-line exclude each other/],
  [[...databases, '--hello', 'gone.pcap'], /^error: gone\.pcap cannot be read \(ENOENT\)\n$/],
  [[...databases, '--log-line', 'gone.log'], /^error: gone\.log cannot be read \(ENOENT\)\n$/],
  [
    [...databases, '--log-line', 'faulty.yaml'],
    /^error: no line of the access log \(msg: connection\) in faulty\.yaml; it has to be JSON: on a terminal/,
  ],
  [
    ['explain', '--log-line', 'other.log'],
    /^error: no listener is called "gone"; there are: databases, plain\n$/,
  ],
  [['hello', '-c', 'faulty.yaml', '-'], /^faulty\.yaml:1:\d+ listeners: expected at least one/],
  [
    ['hello', '--listener', 'databases', '-'],
    /^error: --listener needs the configuration that has it: -c FILE\n$/,
  ],
  [['hello', '-c', 'penstock.yaml', '--listener', 'x', '-'], /^error: no listener is called "x"; there are:/],
  [['test'], /missing required argument 'cases'/],
  [[...databases, 'orders.example'], /too many arguments/],
  [['explain', '-c', 'no.yaml', '--listener', 'databases'], /^no\.yaml: .* cannot be read \(ENOENT\)/],
  [
    ['explain', '-c', 'faulty.yaml', '--listener', 'databases'],
    /^faulty\.yaml:1:\d+ listeners: expected at least one/,
  ],
  [
    ['hello', 'no-such-file'],
    /^penstock: no-such-file cannot be read \(ENOENT\); to listen, give HOST:PORT\n$/,
  ],
  [['hello', '4433'], /^penstock: 4433 cannot be read \(ENOENT\); to listen on that port, write :4433\n$/],
  [['hello', 'a', 'b'], /too many arguments/],
  [['pki'], /Usage: penstock pki/],
  [['pki', 'inti', 'ca'], /unknown command 'inti'/],
  [['pki', 'issue', 'ca'], /missing required argument 'name'/],
  [['pki', 'issue', 'ca', 'a.example', '--days', 'two'], /--days two is not a number of days/],
  [['pki', 'issue', 'ca', 'a.example'], /penstock pki init ca/],
  [['nonsense'], /unknown command 'nonsense'/],
];

test('what is wrong is told on stderr, with exit code 2', async (t) => {
  const directory = withConfiguration(t);
  const left = faults.values();
  // Four at a time: each is a process of its own.
  const several = Array.from({ length: 4 }, async () => {
    for (const [args, told] of left) {
      const { stdout, stderr, code } = await penstock(directory, ...args);
      assert.deepEqual([code, stdout], [2, ''], `${args.join(' ')}: ${stderr}`);
      assert.match(stderr, told);
    }
  });
  await Promise.all(several);
  assert.equal(existsSync(join(directory, 'ca')), false);
});

test('the only listener needs no name', async (t) => {
  const directory = temporaryDirectory(t);
  writeFileSync(
    join(directory, 'penstock.yaml'),
    'listeners: { only: { bind: "127.0.0.1:5432", routes: [{ sni: a.example, deny: true }] } }\n',
  );
  const { stdout, stderr, code } = await penstock(directory, 'explain', '--json', '--sni', 'a.example');
  assert.deepEqual([code, stderr], [0, '']);
  assert.equal(JSON.parse(stdout).listener, 'only');
});

test('explain from the command line', async (t) => {
  const directory = withConfiguration(t);
  const json = async (...args: string[]) => {
    const { stdout, stderr, code } = await penstock(directory, 'explain', '--json', '--listener', ...args);
    assert.deepEqual([code, stderr], [0, '']);
    return JSON.parse(stdout);
  };
  const denied = await json('databases', '--sni', 'ORDERS.example.', '--from', '::ffff:10.1.2.3');
  assert.deepEqual(
    [denied.client.sni, denied.client.address],
    ['orders.example', '10.1.2.3'],
    'as the router has them',
  );
  assert.deepEqual([denied.taken.action, denied.code], ['deny', 'ERR_ROUTE_DENIED']);
  const passed = await json('databases', '--sni', 'a.example', '--alpn', 'h2,http/1.1', 'postgresql');
  assert.deepEqual(passed.client.alpn, ['h2', 'http/1.1', 'postgresql']);
  assert.equal(passed.taken.action, 'passthrough');
  const none = await json('databases');
  assert.deepEqual([none.taken, none.code], [null, 'ERR_NO_ROUTE']);
  assert.equal((await json('plain', '--plain')).upstream.endpoints[0].endpoint, '10.0.0.1:5432');
  const { stdout, code } = await penstock(directory, ...databases, '--sni', 'a.example');
  assert.equal(code, 0);
  assert.match(stdout, /route 1 passes its TLS through\s+to upstream db/);
});

test('pki from the command line', async (t) => {
  const directory = temporaryDirectory(t);
  for (const [args, told] of [
    [['init', 'ca'], /^made a CA for development/],
    [
      ['issue', 'ca', 'app', '--client', '--san', 'uri:spiffe://example/app', '--days', '3'],
      /^made ca\/app\.crt/,
    ],
    [['revoke', 'ca', 'app'], /^revoked ca\/app\.crt/],
  ] as const) {
    const { stdout, stderr, code } = await penstock(directory, 'pki', ...args);
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, told);
  }
});
