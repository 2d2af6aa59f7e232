/**
 * `import --diff` tells which clients of a file get another outcome from a configuration of penstock's than from the old proxy's:
 * refused instead of served, elsewhere, over other TLS. The same configuration makes no difference, whatever its names. Of clients
 * whom the import refuses by a guess it says that it cannot tell, and why.
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
async function difference(t: TestContext, change: (config: Draft) => void, written = cases, haproxy = old) {
  const config = parse(fromHaproxy(haproxy).yaml) as Draft;
  const { db } = config.listeners;
  assert.ok(db);
  config.listeners = { databases: db };
  change(config);
  const directory = temporaryDirectory(t);
  writeFiles(directory, {
    'haproxy.cfg': haproxy,
    'penstock.yaml': stringify(config),
    'cases.yaml': written,
  });
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
  assert.match(
    stdout,
    /cannot tell: it depends on `from`, which the case does not say\n1 client, 0 with another outcome, 1 unclear\n$/,
  );
  assert.equal(code, 1);
});

const guessed = `
frontend db
  bind 127.0.0.1:6432
  tcp-request inspect-delay 5s
  tcp-request content accept if { req.ssl_sni -i guest.example.com } { src_get_gpt0(guests) gt 0 }
  tcp-request content reject if { req.ssl_sni -i guest.example.com }
  tcp-request content reject if { req.ssl_sni -i banned.example.com } { src_get_gpt0(bans) gt 0 }
  tcp-request content reject if { req.ssl_sni -i shut.example.com }
  tcp-request content reject if { src_conn_rate gt 100 }
  use_backend orders if { req.ssl_sni -i orders.example.com }
  use_backend scripted if { req.ssl_sni -i scripted.example.com }
  use_backend orders if { req.ssl_sni -m reg ^db[0-9]+ }
backend orders
  server a 10.0.0.1:5432
backend scripted
  tcp-response content reject
  server a 10.0.0.1:5432
frontend web
  mode http
  bind 127.0.0.1:6433
`;

test('of clients whom a guess refuses it cannot tell, whatever becomes of them here', async (t) => {
  const asked = ['orders', 'guest', 'banned', 'shut', 'scripted', 'db7'];
  const written = `
defaults: { listener: databases, from: 10.1.1.1 }
cases:
${asked.map((name) => `  - { client: { sni: ${name}.example.com } }`).join('\n')}
  - { client: { sni: orders.example.com, listener: web } }
`;
  const { code, stdout, stderr } = await difference(
    t,
    ({ listeners }) => {
      listeners['databases']?.routes.unshift({
        sni: 'banned.example.com',
        tls: 'passthrough',
        upstream: 'orders',
      });
      listeners['web'] = { bind: '127.0.0.1:6433', routes: [{ tls: 'passthrough', upstream: 'orders' }] };
    },
    written,
    guessed,
  );
  assert.equal(stderr, '');
  const unclear = (name: string, line: number, why: string, here: string) =>
    `cases.yaml:${line}:5 (databases: ${name}.example.com from 10.1.1.1): cannot tell: what haproxy.cfg does with it was not carried over (haproxy.cfg:${why}), penstock.yaml ${here}`;
  const refused = 'refuses it (ERR_ROUTE_DENIED)';
  assert.deepEqual(stdout.split('\n'), [
    unclear(
      'guest',
      5,
      '5 tcp-request content accept if { req.ssl_sni -i guest.example.com } { src_get_gpt0(guests) gt 0 }',
      refused,
    ),
    unclear(
      'banned',
      6,
      '7 tcp-request content reject if { req.ssl_sni -i banned.example.com } { src_get_gpt0(bans) gt 0 }',
      'passes it through to 10.0.0.1:5432',
    ),
    unclear('scripted', 8, '16 tcp-response content reject', refused),
    unclear('db7', 9, '12 use_backend orders if { req.ssl_sni -m reg ^db[0-9]+ }', refused),
    'cases.yaml:10:5 (web: orders.example.com from 10.1.1.1): cannot tell: nothing that was carried over from haproxy.cfg listens there',
    '7 clients, 0 with another outcome, 5 unclear',
    stdout.split('\n').at(-2),
    '',
  ]);
  assert.match(
    stdout,
    /\n\d+ not carried over from haproxy\.cfg, which `penstock import` lists; load is taken for that of a normal day\n$/,
  );
  assert.equal(code, 1);
});

test('of a whole listener, too, and of clients without TLS that HAProxy would let in', async (t) => {
  const strange = old.replace('\nbackend orders', '\n  unheard-of directive\nbackend orders');
  const one = (client: string) => `cases: [{ client: { listener: databases, from: 10.1.1.1, ${client} } }]`;
  const all = await difference(t, () => {}, one('sni: orders.example.com'), strange);
  assert.match(all.stdout, /cannot tell: .*\(haproxy\.cfg:8 unheard-of directive\)/);
  const without = await difference(t, () => {}, one('plain: true'), strange);
  assert.match(without.stdout, /cannot tell: .*\(haproxy\.cfg:8 unheard-of directive\)/);
  const open = old.replace('\nbackend orders', '\n  default_backend orders\nbackend orders');
  const plain = await difference(t, () => {}, one('plain: true'), open);
  assert.match(plain.stdout, /cannot tell: .*HAProxy admits clients that do not speak TLS/);
  const known = await difference(t, () => {}, one('plain: true'));
  assert.equal(known.stdout, '1 client, all with the same outcome\n');
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
