/**
 * What nginx's stream block says is carried over, or reported; what may decide who gets in and is not understood turns clients
 * away. test/services/nginx-and-its-import-route-alike has the real nginx beside it.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { configSchema } from '../../../src/config/schema/schema.ts';
import { ImportError } from '../../../src/tools/import/result.ts';
import { fromNginx } from '../../support/imported.ts';

/** A server that sends TLS clients by name to `one` or `two`. */
function imported(inServer: string, inStream = '', listen = '443') {
  const result = fromNginx(`stream {
  map $ssl_preread_server_name $by_name { one.test one; default two; }
  upstream one { server 10.0.0.1:1; }
  upstream two { server 10.0.0.2:2; }
  ${inStream}
  server { listen ${listen}; ${inServer} }
}`);
  configSchema.parse(result.config);
  const [listener] = Object.values<{ routes: { deny?: true }[] }>(result.config.listeners);
  const refuses = listener?.routes.every(({ deny }) => deny === true);
  return { ...result, listener, refuses };
}

const routed = 'ssl_preread on; proxy_pass $by_name;';

const turnsAway: readonly (readonly [what: string, ...args: Parameters<typeof imported>])[] = [
  ['a directive nobody knows', `${routed} frobnicate on;`],
  ['the same, inherited', routed, 'js_access main.check;'],
  ['server_name, which chooses among servers', `${routed} server_name a.test;`],
  ['an include that cannot be read', `${routed} include secret.conf;`],
  ['an option of listen nobody knows', routed, '', '443 wibble'],
  ['a hello within TLS', `${routed} ssl_certificate a.crt; ssl_certificate_key a.key;`, '', '443 ssl'],
  ['TLS without a certificate', 'proxy_pass one;', '', '443 ssl'],
  [
    'a certificate by a variable',
    'ssl_certificate $a; ssl_certificate_key $a; proxy_pass one;',
    '',
    '443 ssl',
  ],
  [
    'client certificates of any CA',
    'ssl_certificate a.crt; ssl_certificate_key a.key; ssl_verify_client optional_no_ca; ssl_client_certificate c.crt; proxy_pass one;',
    '',
    '443 ssl',
  ],
  ['an address that is none', `${routed} allow unix:; deny all;`],
  ['trusted peers by name', `${routed} set_real_ip_from lb.internal;`, '', '443 proxy_protocol'],
  ['where a variable leads', 'proxy_pass $js_backend;'],
  ['where a part of a name leads', 'ssl_preread on; proxy_pass $ssl_preread_server_name:443;'],
  ['an answer of its own', 'return hello;'],
  ['a variable that is defined twice', routed, 'map $remote_addr $by_name { default one; }'],
  ['no proxy_pass', 'ssl_preread on;'],
  ['TLS within TLS', `${routed} proxy_ssl on;`],
];

describe('turned away, and reported', () => {
  for (const [what, ...args] of turnsAway) {
    test(what, () => {
      const { lost, listener, yaml } = imported(...args);
      const passed = listener?.routes.filter(({ deny }) => deny === undefined) ?? [];
      // TLS within TLS concerns clients with TLS alone.
      const allowed =
        what === 'TLS within TLS' ? passed.filter((route) => 'tls' in route && route.tls === 'off') : [];
      assert.deepEqual(passed, allowed, yaml);
      assert.ok(lost.length > 0);
    });
  }
});

test('what is carried over', () => {
  const { config, lost } = fromNginx(`
    worker_processes 4;
    stream {
      log_format x '$remote_addr';
      proxy_timeout "1h 30m";
      upstream u { least_conn; server db.internal:5432 weight=2; server 10.0.0.2:5432 weight=4 max_fails=3 fail_timeout=1m; server 10.0.0.3:5432 backup; }
      server {
        listen 5432 reuseport; listen [::]:5432;
        proxy_pass u; proxy_connect_timeout 2s; proxy_next_upstream_tries 2; proxy_protocol on;
        proxy_ssl on; proxy_ssl_verify on; proxy_ssl_trusted_certificate ca.crt; proxy_ssl_name db.internal; proxy_ssl_certificate c.crt; proxy_ssl_certificate_key c.key;
        deny 10.6.0.0/16; allow 10.0.0.0/8; deny all;
      }
    }`);
  assert.deepEqual(lost, []);
  configSchema.parse(config);
  const [one, other] = Object.values<Record<string, unknown>>(config.listeners);
  assert.equal(one?.['bind'], '0.0.0.0:5432');
  assert.equal(other?.['bind'], '[::]:5432');
  assert.deepEqual(one?.['timeouts'], { idle: '90m' });
  const allow = one?.['allow'] as string[];
  assert.ok(allow.includes('10.128.0.0/9') && !allow.includes('10.6.0.0/16'));
  assert.deepEqual(Object.values(config.upstreams)[0], {
    endpoints: [
      { address: 'db.internal:5432', weight: 2 },
      { address: '10.0.0.2:5432', weight: 4 },
      { address: '10.0.0.3:5432', priority: 1 },
    ],
    resolve: { each_address: true },
    balance: 'least_connections',
    outlier: { failures: 1, eject_for: '10s' },
    all_down: 'try_anyway',
    tls: { server_name: 'db.internal', authority: 'servers', certificate: 'proxy-client' },
    send_proxy_protocol: 'v1',
    timeouts: { connect: '2s' },
    retries: 1,
  });
});

test('PROXY headers are trusted of those whom nginx trusts', () => {
  const from = (inServer: string) =>
    imported(`${routed} ${inServer}`, '', '443 proxy_protocol').config.listeners['port-443'];
  assert.deepEqual(from('set_real_ip_from 10.0.0.0/8; deny 10.6.6.6;').accept_proxy_protocol, {
    from: ['10.0.0.0/8'],
  });
  assert.deepEqual(from('set_real_ip_from 10.0.0.0/8; deny 10.6.6.6;').deny, ['10.6.6.6']);
  // Without it, rules apply to the peer.
  assert.deepEqual(from('allow 10.0.0.0/8; deny all;').accept_proxy_protocol, { from: ['10.0.0.0/8'] });
});

test('maps of maps, quotes, comments, includes', () => {
  const { config, lost } = fromNginx(
    `stream { include conf.d/*.conf;
      map "$inner" '$outer' { a one; "" ""; default two; } # a comment; { "
      server { listen 127.0.0.1:1; ssl_preread on; proxy_pass \${outer}; } }`,
    {
      'conf.d/': 'a.conf b.txt',
      'conf.d/a.conf':
        'map $ssl_preread_server_name $inner { hostnames; *.a.test a; include names.map; }\nupstream one { server unix:/run/a; } upstream two { server 10.0.0.2:1; }',
      'names.map': 'b.test b;\n',
    },
  );
  assert.deepEqual(lost, []);
  const routes = config.listeners['127.0.0.1-1'].routes.map(
    ({ sni, upstream }: { sni?: string; upstream?: string }) => [sni, upstream],
  );
  assert.deepEqual(routes.slice(0, 3), [
    ['b.test', 'two'],
    ['*.a.test', 'one'],
    [undefined, undefined],
  ]);
});

test('what is no nginx.conf is a fault', () => {
  for (const text of [
    '',
    'http { }',
    'stream {',
    'stream { server { listen 1 } }',
    "stream { a 'b; }",
    '}',
  ]) {
    assert.throws(() => fromNginx(text), ImportError, text);
  }
});
