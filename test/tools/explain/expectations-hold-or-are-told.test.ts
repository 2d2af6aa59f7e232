/**
 * `penstock test` holds a configuration to a file of expectations: what holds is counted, what does not is told with its
 * place, what was expected, what is, and why; a case that says too little fails; faults of the file are told as those of a
 * configuration are, all at once. Exit codes: 0, 1, 2.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import { createAuthority, temporaryDirectory, writeFiles } from '../../support/certificates.ts';
import { capturedHello } from '../../support/client-hellos.ts';
import { penstockCommand } from '../../support/penstock-command.ts';

const configuration = `certificates: { orders: { cert: orders.crt, key: orders.key } }
authorities: { ca: { ca: ca.crt } }
listeners:
  databases:
    bind: 127.0.0.1:5432
    allow: 10.0.0.0/8
    routes:
      - name: orders
        sni: orders.example.com
        tls:
          certificates: orders
          min_version: "1.3"
          alpn: [postgresql, http/1.1]
          client_auth: { authority: ca, allow: [{ cn: app }] }
        upstream: orders
      - { name: tenants, sni: "*.example.com", tls: passthrough, upstream: tenants }
      - { sni: old.test, deny: true }
      - { name: office, sni: office.test, from: 10.1.0.0/16, tls: passthrough, upstream: orders-plain }
      - { name: odd, ja4: t99*, deny: true }
  headed: { bind: ":1", accept_proxy_protocol: { from: 10.0.0.1 }, routes: [{ tls: off, upstream: orders-plain }] }
upstreams:
  orders:
    endpoints: [{ address: 10.0.1.9:5432, priority: 1 }, db.internal:5432]
    tls: { authority: ca, certificate: orders }
    send_proxy_protocol: v2
  orders-plain: { endpoints: [10.0.1.5:5432] }
  tenants: { endpoints: ["{sni.1}.tenants.svc:5432"], allow_addresses: 10.0.0.0/8 }
`;

let files: Readonly<Record<string, string | Buffer>>;
before(async () => {
  const ca = await createAuthority();
  const orders = await ca.issue({ dns: ['orders.example.com'] });
  files = {
    'penstock.yaml': configuration,
    'orders.crt': orders.cert,
    'orders.key': orders.key,
    'ca.crt': ca.cert,
    'app.crt': (await ca.issue({ cn: 'app' })).cert,
    'other.crt': (await ca.issue({ cn: 'other' })).cert,
    'curl.bin': capturedHello('curl-7.88'),
  };
});

/** Runs it in a directory with these cases. */
async function run(t: TestContext, cases: string, ...args: string[]) {
  const directory = temporaryDirectory(t);
  writeFiles(directory, { ...files, 'cases.yaml': cases });
  const outcome = await penstockCommand(['test', 'cases.yaml', ...args], { cwd: directory });
  return { ...outcome, stderr: outcome.stderr.replaceAll(`${directory}/`, ''), directory };
}

const good = `defaults: { listener: databases, from: 10.1.2.3 }
cases:
  - name: the orders service
    client: { sni: Orders.example.com, alpn: [h2, postgresql], tls: [1.2, 1.3], certificate: app.crt }
    expect:
      route: orders
      action: terminate
      tls: 1.3
      alpn: postgresql
      certificate: orders
      client_auth: require
      upstream: orders
      endpoints: [db.internal:5432, 10.0.1.9:5432]
      upstream_tls: full
      upstream_sni: db.internal
      upstream_certificate: orders
      proxy_protocol: v2
  - { client: { sni: orders.example.com, certificate: other.crt }, expect: { code: ERR_CLIENT_CERT_NOT_ALLOWED } }
  - { client: { sni: orders.example.com, certificate: none }, expect: { code: ERR_CLIENT_CERT_REQUIRED } }
  - { client: { sni: orders.example.com, tls: "1.2" }, expect: { code: ERR_TLS_VERSION_MISMATCH, route: orders, upstream: none } }
  - { client: { sni: orders.example.com, alpn: h2 }, expect: { code: ERR_TLS_ALPN_MISMATCH } }
  - { client: { hello: curl.bin }, expect: { route: orders, alpn: http/1.1, tls: "1.3" } }
  - { client: { sni: a.example.com }, expect: { route: tenants, action: passthrough, endpoints: a.tenants.svc:5432 } }
  - { client: { sni: a.b.example.com }, expect: { route: tenants, code: ERR_UPSTREAM_TEMPLATE } }
  - { client: { sni: old.test }, expect: { route: 2, action: deny, code: ERR_ROUTE_DENIED } }
  - { client: { sni: office.test }, expect: { route: office, certificate: none, client_auth: none } }
  - { client: { sni: office.test, from: 10.2.2.3 }, expect: { route: none, code: ERR_NO_ROUTE } }
  - { client: { from: 192.0.2.1 }, expect: { code: ERR_ADDRESS_DENIED } }
  - { client: { plain: true }, expect: { code: ERR_NOT_TLS } }
  - { client: { ja4: t99x }, expect: { route: odd, code: ERR_ROUTE_DENIED } }
  - { client: { listener: headed, plain: true, peer: 10.0.0.1 }, expect: { route: "0", action: "off" } }
  - { client: { listener: headed, plain: true, peer: 10.0.0.2 }, expect: { code: ERR_PROXY_HEADER_UNTRUSTED } }
`;

test('what holds is counted', async (t) => {
  const { code, stdout, stderr } = await run(t, good);
  assert.deepEqual([stdout, stderr, code], ['16 cases, all as expected\n', '', 0]);
});

test('what does not hold is told: where, what was expected, what is, and why', async (t) => {
  const { code, stdout, stderr } = await run(
    t,
    `cases:
  - name: the office
    client: { listener: databases, sni: office.test, from: 10.2.2.3 }
    expect: { route: office, code: none }
  - client: { listener: databases, sni: a.example.com, from: 10.2.2.3 }
    expect: { route: nowhere, upstream: orders, endpoints: [a, b] }
  - client: { listener: databases, sni: orders.example.com, from: 10.2.2.3, certificate: other.crt }
    expect: { upstream: orders }
  - client: { listener: databases, sni: office.test }
    expect: { route: office }
`,
  );
  assert.deepEqual([stderr, code], ['', 1]);
  const lines = stdout.split('\n');
  const office = 'route office is not taken: the client is 10.2.2.3, the route is for 10.1.0.0/16';
  const tenant = (column: number) => `cases.yaml:6:${column} (databases: a.example.com from 10.2.2.3)`;
  assert.deepEqual(lines.slice(0, 5), [
    `cases.yaml:4:36 (the office) code: expected none, is ERR_NO_ROUTE; ${office}`,
    `cases.yaml:4:22 (the office) route: expected office, is none; ${office}`,
    `${tenant(22)} route: expected nowhere, is tenants; there is no route nowhere`,
    `${tenant(41)} upstream: expected orders, is tenants`,
    `${tenant(49)} endpoints: expected a, b, is a.tenants.svc:5432`,
  ]);
  assert.match(
    lines[5] ?? '',
    /^cases\.yaml:8:5 .* code: expected none, is ERR_CLIENT_CERT_NOT_ALLOWED; the client's certificate CN=other/,
  );
  assert.match(
    lines[6] ?? '',
    /^cases\.yaml:8:25 .* upstream: expected orders, is none; the client's certificate/,
  );
  assert.equal(
    lines[7],
    'cases.yaml:9:5 (databases: office.test): it depends on `from`, which the case does not say',
  );
  assert.equal(lines.at(-3), '4 cases, 4 not as expected');
  assert.equal(lines.at(-2), 'no case takes these routes: databases 2, office, odd; headed 0');
});

test('faults of the file are told all at once, each with its place', async (t) => {
  const { code, stdout, stderr } = await run(
    t,
    `defaults: { listener: databses, certificate: none.crt }
cases:
  - { client: { sni: a.example.com }, expect: {} }
  - { client: { listener: databases, plain: true, sni: a.example.com }, expect: {} }
  - { client: { listener: databases, hello: curl.bin, tls: 1.3, certificate: none }, expect: {} }
  - { client: { listener: databases, hello: ca.crt, certificate: none }, expect: {} }
  - { client: { listener: databases, hello: gone.bin, certificate: none }, expect: {} }
  - { client: { listener: databases, peer: 10.0.0.1, certificate: app.crt }, expect: {} }
  - { client: { listener: databases, certificate: orders.key }, expect: {} }
`,
  );
  assert.deepEqual([stdout, code], ['', 2]);
  assert.deepEqual(stderr.trim().split('\n'), [
    'cases.yaml:1:23 defaults.listener: no listener is called "databses"; did you mean "databases"?',
    'cases.yaml:1:46 defaults.certificate: none.crt cannot be read (ENOENT)',
    'cases.yaml:4:56 cases[1].client.sni: only TLS clients have that, and this one is plain',
    'cases.yaml:5:60 cases[2].client.tls: `hello` says that by itself',
    'cases.yaml:6:45 cases[3].client.hello: ca.crt: the client does not speak TLS (it starts with 0x2d2d)',
    'cases.yaml:7:45 cases[4].client.hello: gone.bin cannot be read (ENOENT)',
    "cases.yaml:8:44 cases[5].client.peer: listener databases reads no PROXY headers; the client's address is `from`",
    'cases.yaml:9:51 cases[6].client.certificate: orders.key holds no PEM certificate; `none` stands for a client without one',
  ]);
});

test('so are slips of the keyboard', async (t) => {
  const faulty: [cases: string, told: RegExp][] = [
    ['- client: {}\n', /^cases\.yaml:1:1: expected a mapping \(found a list\)/],
    ['cases: []\n', /^cases\.yaml:1:\d+ cases: expected at least one case/],
    [
      'cases: [{ client: { listner: databases }, expect: {} }]\n',
      /unknown key "listner"; did you mean "listener"\?/,
    ],
    [
      'cases: [{ client: {}, expect: {} }]\n',
      /cases\[0\]\.client: `listener` is missing; here, or in `defaults`/,
    ],
    ['cases: [{ client: { listener: databases } }]\n', /cases\[0\]: `expect` is missing/],
    [
      'cases: [{ client: { listener: databases }, expect: { code: ERR_NO_ROUT } }]\n',
      /expect\.code: expected none, or a code of docs\/errors\.md \(found "ERR_NO_ROUT"\); did you mean "ERR_NO_ROUTE"\?/,
    ],
    [
      'cases: [{ client: { listener: databases, tls: 1.4 }, expect: {} }]\n',
      /client\.tls: expected one of 1\.0, 1\.1, 1\.2, 1\.3 \(found 1\.4\)/,
    ],
    [
      'cases: [{ client: { listener: databases, from: 10.0.0.256 }, expect: {} }]\n',
      /client\.from: expected an address such as/,
    ],
    [
      'cases: [{ client: { listener: databases, sni: "*.a.b" }, expect: {} }]\n',
      /client\.sni: expected the name that a client asks for/,
    ],
    ['cases: [\n', /^cases\.yaml:\d+:\d+/],
  ];
  const left = faulty.values();
  // Four at a time: each is a process of its own.
  const several = Array.from({ length: 4 }, async () => {
    for (const [cases, told] of left) {
      const { code, stdout, stderr } = await run(t, cases);
      assert.deepEqual([code, stdout], [2, ''], stderr);
      assert.match(stderr, told);
    }
  });
  await Promise.all(several);
  assert.match(
    (await run(t, good, '--json', '--junit')).stderr,
    /^error: --json and --junit exclude each other\n$/,
  );
  assert.match((await run(t, good, '-c', 'gone.yaml')).stderr, /^gone\.yaml: .* cannot be read \(ENOENT\)/);
  assert.match((await run(t, good, 'gone.yaml')).stderr, /^gone\.yaml: cannot be read \(ENOENT\)\n$/);
});

test('as JSON, and as XML for CI servers', async (t) => {
  const cases = `cases:
  - { name: "a <b> & \\"c\\"", client: { listener: databases, sni: a.example.com, from: 10.1.1.1 }, expect: { route: orders } }
  - { client: { listener: databases, sni: old.test, from: 10.1.1.1 }, expect: { code: ERR_ROUTE_DENIED } }
`;
  const json = await run(t, cases, '--json');
  assert.equal(json.code, 1);
  const { cases: outcomes, ...summary } = JSON.parse(json.stdout);
  assert.deepEqual(summary, {
    ok: false,
    total: 2,
    failed: 1,
    untested: { databases: ['orders', 'office', 'odd'], headed: ['0'] },
  });
  assert.deepEqual(outcomes[0].misses, [
    {
      key: 'route',
      line: 2,
      column: 116,
      expected: 'orders',
      actual: 'tenants',
      why: 'route orders is not taken: the client asks for a.example.com, the route is for orders.example.com',
    },
  ]);
  assert.deepEqual(
    [outcomes[1].ok, outcomes[1].actual.route, outcomes[1].actual.code],
    [true, '2', 'ERR_ROUTE_DENIED'],
  );
  const { stdout } = await run(t, cases, '--junit');
  assert.match(
    stdout,
    /^<\?xml version="1\.0" encoding="UTF-8"\?>\n<testsuites>\n {2}<testsuite name="cases\.yaml" tests="2" failures="1">\n/,
  );
  assert.match(
    stdout,
    /<testcase name="a &lt;b&gt; &amp; &quot;c&quot;" classname="databases" file="cases\.yaml" line="2">\n {6}<failure message="cases\.yaml:2:116 \(a &lt;b&gt;/,
  );
  assert.match(stdout, /<testcase name="databases: old\.test from 10\.1\.1\.1" [^>]*\/>\n/);
});

test('it runs from anywhere: the files of a case are beside it', async (t) => {
  const { directory } = await run(t, good);
  const paths = ['-c', join(directory, 'penstock.yaml'), join(directory, 'cases.yaml')];
  const { stdout, code } = await penstockCommand(['test', ...paths]);
  assert.deepEqual([stdout, code], ['16 cases, all as expected\n', 0]);
});
