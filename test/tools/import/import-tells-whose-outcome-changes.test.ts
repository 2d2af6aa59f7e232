/**
 * `import --diff` tells which clients of a file get another outcome from a configuration of penstock's than from the old proxy's:
 * refused instead of served, elsewhere, over other TLS. The same configuration makes no difference, whatever its names.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { type TestContext, test } from 'node:test';
import { parse, stringify } from 'yaml';
import { kindOf } from '../../../src/tools/import/kind-of.ts';
import { temporaryDirectory, writeFiles } from '../../support/certificates.ts';
import { fromHaproxy } from '../../support/imported.ts';
import { penstockMain } from '../../support/penstock.ts';

const old = `
frontend db
  bind 127.0.0.1:6432
  tcp-request inspect-delay 5s
  tcp-request connection reject if { src 10.6.0.0/16 }
  use_backend orders if { req.ssl_sni -i orders.example.com }
  use_backend tenants if { req.ssl_sni -m end .tenants.example.com }
backend orders
  server a 10.0.0.1:5432
  server b 10.0.0.2:5432
backend tenants
  server c 10.0.0.3:5432
`;

const cases = `
defaults: { listener: databases, from: 10.1.1.1 }
cases:
  - { client: { sni: orders.example.com } }
  - { client: { sni: a.tenants.example.com } }
  - { client: { sni: other.example.com } }
  - { name: from a network that is shut out, client: { sni: orders.example.com, from: 10.6.1.1 } }
`;

type Draft = {
  listeners: Record<string, { routes: object[]; [option: string]: unknown }>;
  upstreams: Record<string, { endpoints: string[]; [option: string]: unknown }>;
};

function run(cwd: string, args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [penstockMain, ...args], {
    cwd,
    encoding: 'utf8',
  });
  return { code: status, stdout, stderr };
}

/** Runs the command with a configuration that is what the import makes, with another name, and then changed. */
async function difference(t: TestContext, change: (config: Draft) => void, written = cases) {
  const config = parse(fromHaproxy(old).yaml) as Draft;
  const { db } = config.listeners;
  assert.ok(db);
  config.listeners = { databases: db };
  change(config);
  const directory = temporaryDirectory(t);
  writeFiles(directory, { 'haproxy.cfg': old, 'penstock.yaml': stringify(config), 'cases.yaml': written });
  return run(directory, ['import', '--diff', 'haproxy.cfg', 'penstock.yaml', '--cases', 'cases.yaml']);
}

test('the same, by other names, makes no difference', async (t) => {
  const { code, stdout, stderr } = await difference(t, ({ listeners, upstreams }) => {
    upstreams['other'] = upstreams['orders'] ?? { endpoints: [] };
    Object.assign(listeners['databases']?.routes[0] ?? {}, { upstream: 'other', name: 'other' });
  });
  assert.deepEqual([stderr, stdout, code], ['', '4 clients, all with the same outcome\n', 0]);
});

test('who gets in, who is shut out, who gets elsewhere, and how', async (t) => {
  const { code, stdout, stderr } = await difference(t, ({ listeners, upstreams }) => {
    const { databases } = listeners;
    if (databases) delete databases['deny'];
    databases?.routes.push({ tls: 'passthrough', upstream: 'orders' });
    Object.assign(upstreams['tenants'] ?? {}, { endpoints: ['10.0.0.4:5432'], send_proxy_protocol: 'v2' });
  });
  assert.equal(stderr, '');
  assert.deepEqual(stdout.split('\n'), [
    'cases.yaml:5:5 (databases: a.tenants.example.com from 10.1.1.1): haproxy.cfg passes it through to 10.0.0.3:5432, penstock.yaml passes it through to 10.0.0.4:5432 with a PROXY header v2',
    'cases.yaml:6:5 (databases: other.example.com from 10.1.1.1): haproxy.cfg refuses it (ERR_NO_ROUTE), penstock.yaml passes it through to 10.0.0.1:5432, 10.0.0.2:5432',
    'cases.yaml:7:5 (from a network that is shut out): haproxy.cfg refuses it (ERR_ADDRESS_DENIED), penstock.yaml passes it through to 10.0.0.1:5432, 10.0.0.2:5432',
    '4 clients, 3 with another outcome',
    '',
  ]);
  assert.equal(code, 1);
});

test('a client of whom too little is said has no outcome', async (t) => {
  const unsaid = 'cases: [{ client: { listener: databases, sni: orders.example.com } }]';
  const { code, stdout } = await difference(t, () => {}, unsaid);
  assert.match(stdout, /it depends on `from`, which the case does not say\n1 client, 1 with another outcome/);
  assert.equal(code, 1);
});

test('files that are not there, or not understood, end with 2', async (t) => {
  const directory = temporaryDirectory(t);
  writeFiles(directory, { 'old.cfg': 'hello', 'haproxy.cfg': old, 'penstock.yaml': 'listeners: {}' });
  const command = (...args: string[]) => run(directory, ['import', ...args]);
  assert.match(
    (await command('--diff', 'none.cfg', 'penstock.yaml', '--cases', 'c')).stderr,
    /none\.cfg: it cannot be read \(ENOENT\)/,
  );
  assert.match(
    (await command('--diff', 'old.cfg', 'penstock.yaml', '--cases', 'c')).stderr,
    /no configuration that `penstock import` knows/,
  );
  const faulty = await command('--diff', 'haproxy.cfg', 'penstock.yaml', '--cases', 'c');
  assert.deepEqual([faulty.code, /listeners: expected at least one/.test(faulty.stderr)], [2, true]);
  for (const args of [
    ['--diff', 'haproxy.cfg'],
    ['--diff', 'haproxy.cfg', 'penstock.yaml'],
    ['--cases', 'c', 'penstock.yaml'],
    [],
  ]) {
    assert.equal(command(...args).code, 2, args.join(' '));
  }
});

test('which proxy a configuration is for is seen from its content', () => {
  const texts = {
    haproxy: ['global\n  daemon\n', '# x\nlisten a\n  bind :1\n', 'frontend f\n'],
    nginx: ['events {}\nstream {\n}', 'upstream a { server 10.0.0.1:1; }\n'],
    traefik: ['[tcp.routers.a]\n', 'tcp:\n  routers: {}\n', 'entryPoints:\n  a: {}\n'],
    apisix: ['stream_routes:\n  - id: 1\n', '{"ssls": []}', 'apisix:\n  stream_proxy: {}\n'],
  };
  for (const [kind, all] of Object.entries(texts))
    for (const text of all) assert.equal(kindOf(text), kind, text);
  for (const text of ['', 'hello', 'listeners: {}']) assert.equal(kindOf(text), undefined, text);
});
