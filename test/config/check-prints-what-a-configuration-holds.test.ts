/**
 * `penstock check` prints tables on stdout and warnings on stderr and ends with 0, or prints every fault on stderr and
 * ends with 2; with `--json` all of it is one object on stdout.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import {
  type Authority,
  type Credential,
  createAuthority,
  temporaryDirectory,
  writeFiles,
} from '../support/certificates.ts';
import { penstockCommand } from '../support/penstock-command.ts';

const penstock = (cwd: string, ...args: string[]) => penstockCommand(args, { cwd });

const config = `listeners:
  databases:
    bind: [":5432", "127.0.0.1:6000"]
    starttls: postgres
    routes:
      - name: orders
        sni: [a-rather-long-name.db.example.com, another-long-name.db.example.com, orders.example.com]
        from: 10.0.0.0/8
        tls: { certificates: db, client_auth: { authority: clients } }
        upstream: orders
      - { sni: old.example.com, deny: true }
  plain: { bind: "127.0.0.1:6380", routes: [{ tls: off, upstream: cache }] }
certificates: { db: { cert: db.crt, key: db.key } }
authorities: { clients: { ca: ca.crt, crl: ca.crl } }
upstreams:
  orders: { endpoints: ["10.0.0.1:5432", "10.0.0.2:5432"], tls: { authority: clients, certificate: db } }
  cache: { endpoints: ["10.0.0.1:6379"] }
`;

let ca: Authority;
let leaf: Credential;
let crl: string;
before(async () => {
  ca = await createAuthority({ name: 'Clients CA' });
  const names = ['*.db.example.com', 'orders.example.com'];
  leaf = await ca.issue({ cn: 'db', dns: names, notAfter: new Date(Date.now() + 100.5 * 86_400_000) });
  crl = await ca.crl([], { nextUpdate: new Date(Date.now() + 30.5 * 86_400_000) });
});

function directoryWith(t: Parameters<typeof temporaryDirectory>[0], yaml: string): string {
  const directory = temporaryDirectory(t);
  writeFiles(directory, {
    'db.crt': leaf.cert,
    'db.key': leaf.key,
    'ca.crt': ca.cert,
    'ca.crl': crl,
    'penstock.yaml': yaml,
  });
  return directory;
}

test('tables that fit a terminal', async (t) => {
  const { stdout, stderr, code } = await penstock(
    directoryWith(t, `${config}session_tickets: { rotate: 1h }\n`),
    'check',
  );
  assert.equal(code, 0);
  const message = 'sessions could be resumed for 2 hours, but after two rotations they no longer can';
  assert.equal(stderr, `penstock.yaml:18:28 session_tickets.rotate: warning: ${message}\n`);
  const lines = stdout.split('\n');
  assert.deepEqual(
    lines.filter((line) => line.length > 100),
    [],
  );
  const cells = lines.map((line) => line.replace(/ +/g, ' ').trim());
  for (const expected of [
    /^databases :5432, 127.0.0.1:6000 starttls: post/,
    /^orders a-rather-long\S*… from 10.0.0.0\/8 db, client require orders$/,
    /^1 old.example.com deny -$/,
    /^plain 127.0.0.1:6380$/,
    /^0 any off cache$/,
    /^orders 10.0.0.1:5432, 10.0.0.2:5432 verify full by clients, as db$/,
    /^cache 10.0.0.1:6379 -$/,
    /^clients Clients CA \d{4}-\d\d-\d\d \d+$/,
    /^clients revocation list \d{4}-\d\d-\d\d 30$/,
    /^penstock.yaml is valid, with 1 warning$/,
  ]) {
    assert.ok(
      cells.some((line) => expected.test(line)),
      `${expected} in\n${stdout}`,
    );
  }
  assert.ok(
    cells.some((line) => line.startsWith('db ec ') && line.endsWith(` 100 ${leaf.pin}`)),
    stdout,
  );
});

test('with --strict a warning is a fault', async (t) => {
  const warned = directoryWith(t, `${config}session_tickets: { rotate: 1h }\n`);
  for (const [flags, expected] of [
    [[], 0],
    [['--strict'], 1],
    [['--strict', '--json'], 1],
  ] as const) {
    const { stdout, code } = await penstock(warned, 'check', ...flags);
    assert.equal(code, expected, `check ${flags.join(' ')}: ${stdout}`);
  }
  const { code } = await penstock(directoryWith(t, config), 'check', '--strict');
  assert.equal(code, 0);
});

test('a warning that its line accepts, with a reason, is neither printed nor counted', async (t) => {
  const check = (text: string, ...flags: string[]) =>
    penstock(directoryWith(t, `${config}session_tickets: { rotate: 1h }${text}\n`), 'check', ...flags);
  const accepted = await check(' # accepted: they are rotated elsewhere', '--strict');
  assert.deepEqual([accepted.code, accepted.stderr], [0, '']);
  assert.match(accepted.stdout, / is valid, with 1 warning, 1 of them accepted\n$/);
  const listed = JSON.parse((await check(' # accepted: they are rotated elsewhere', '--json')).stdout);
  assert.deepEqual([listed.warnings.length, listed.accepted.length], [0, 1]);
  for (const comment of ['', ' # accepted:', ' # rotated elsewhere', '\n# accepted: on another line']) {
    assert.equal((await check(comment, '--strict')).code, 1, comment);
  }
});

test('every fault, and nothing on stdout', async (t) => {
  const directory = directoryWith(
    t,
    config.replace('upstream: cache', 'upstream: cahce').replace('deny:', 'dney:'),
  );
  const { stdout, stderr, code } = await penstock(directory, 'check', '-c', 'penstock.yaml');
  assert.equal(code, 2);
  assert.equal(stdout, '');
  assert.equal(
    stderr,
    'penstock.yaml:11:33 listeners.databases.routes[1].dney: unknown key "dney"; did you mean "deny"?\n' +
      'penstock.yaml:12:67 listeners.plain.routes[0].upstream: no upstream is called "cahce"; did you mean "cache"?\n',
  );
});

test('no configuration at all', async (t) => {
  const { stderr, code } = await penstock(temporaryDirectory(t), 'check', '-c', 'no.yaml');
  assert.equal(code, 2);
  assert.match(
    stderr,
    /^no\.yaml: \S+\/no\.yaml cannot be read \(ENOENT\); name the configuration with -c FILE\n$/,
  );
});

test('JSON of what it holds', async (t) => {
  const { stdout, stderr, code } = await penstock(directoryWith(t, config), 'check', '--json');
  assert.equal(code, 0);
  assert.equal(stderr, '');
  const report = JSON.parse(stdout);
  assert.equal(report.ok, true);
  assert.deepEqual([report.faults, report.warnings], [[], []]);
  assert.deepEqual(
    report.listeners.map(({ name, routes }: { name: string; routes: unknown[] }) => [name, routes.length]),
    [
      ['databases', 2],
      ['plain', 1],
    ],
  );
  assert.equal(report.listeners[0].routes[0].action, 'terminate');
  assert.equal(report.upstreams[0].tls.authority, 'clients');
  assert.equal(report.certificates[0].pin, leaf.pin);
  assert.equal(report.certificates[0].days_left, 100);
  assert.equal(report.authorities[0].crls[0].days_left, 30);
});

test('JSON of what is wrong', async (t) => {
  const directory = directoryWith(t, config);
  writeFileSync(join(directory, 'db.key'), ca.key);
  const { stdout, code } = await penstock(directory, 'check', '--json', '-c', 'penstock.yaml');
  assert.equal(code, 2);
  assert.deepEqual(JSON.parse(stdout), {
    ok: false,
    file: 'penstock.yaml',
    faults: [
      {
        file: 'penstock.yaml',
        line: 13,
        column: 42,
        path: 'certificates.db.key',
        message: `${directory}/db.key is not the key of the certificate in ${directory}/db.crt`,
      },
    ],
    warnings: [],
  });
});
