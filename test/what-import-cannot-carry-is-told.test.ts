/**
 * Proves that nothing of an imported configuration is lost in silence: for each thing that penstock does not have there is a
 * line with its place and the reason, and where it decided who gets in, or where to, clients are refused.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createAuthority } from './support/certificates.ts';
import { fromApisix, fromHaproxy } from './support/imported.ts';

const nodes = { '10.0.0.1:5432': 1 };

/** Lines of a frontend that passes through to `one`, and what is said of them. */
const frontendLines: readonly [line: string, told: RegExp][] = [
  ['stick-table type ip size 1m store conn_cur', /stick-table .*: there are no tables here/],
  ['tcp-request connection reject if { src_conn_cur gt 20 }', /taken to be false .*connections_per_ip: 20/],
  ['tcp-request connection reject if { sc0_conn_rate ge 50 }', /rate_per_ip of the listener is the nearest/],
  ['tcp-request content set-var(txn.a) src', /nothing here counts or marks by rules/],
  [
    'tcp-request content lua.check if TRUE',
    /there is no such action here; clients that it might concern are refused/,
  ],
  [
    'tcp-request content reject if { hdr(host) a }',
    /nothing here asks for that; clients that it might concern are refused/,
  ],
  ['tcp-request content reject if unheard', /there is no acl "unheard"/],
  ['tcp-request content reject if { src -f nowhere.lst }', /nowhere\.lst cannot be read/],
  ['use_backend two if { req.ssl_sni -m sub x }', /cannot be told whether this holds: they are refused/],
  ['use_backend nowhere', /there is no backend "nowhere" in mode tcp/],
  ['use_backend %[var(txn.b)]', /where this leads is not known/],
  ['rate-limit sessions 10', /limits\.rate_per_ip/],
  ['filter compression', /there is no such setting here/],
  ['bind 127.0.0.1:444 interface eth0', /interface eth0: it is bound on all interfaces/],
  ['bind abns@name', /there are no such addresses here/],
  // Words that every object of JavaScript knows.
  ['bind :9 toString', /toString: there is no such setting here/],
  ['tcp-request content constructor', /there is no such action here/],
  ['tcp-request content reject if constructor', /there is no acl "constructor"/],
  ['bind "abns@a\\n\\x1b[31m"', /abns@a\\u000a\\u001b\[31m: there are no such addresses here/],
];

const serverLines: readonly [line: string, told: RegExp][] = [
  ['server s 10.0.0.1:1 __proto__', /server s: __proto__: there is no such setting here/],
  ['option constructor\n  server s 10.0.0.1:1', /option constructor/],
  [
    'server s 10.0.0.1:1 send-proxy-v2 proxy-v2-options valueOf',
    /proxy-v2-options valueOf: there is no such TLV/,
  ],
  ['server s 10.0.0.1:1 source 10.0.0.9', /the system chooses the address that is dialled from/],
  ['server s 10.0.0.1:1 agent-check agent-port 5', /there are no agents here/],
  [
    'server s 10.0.0.1:1\n  server t 10.0.0.2:1 send-proxy',
    /server t: its TLS or PROXY settings are not those of s/,
  ],
  ['server s 10.0.0.1:1 check port 99', /the endpoint itself is checked here/],
  ['server s 10.0.0.1:1 socks4 10.0.0.9:1080', /socks4 has no counterpart; it is left out/],
  ['server s 0.0.0.0:1', /the address that the client meant is not dialled here/],
  ['balance url_param id\n  server s 10.0.0.1:1', /no such balancing here; round_robin takes its place/],
  ['stick on src\n  server s 10.0.0.1:1', /there are no tables here/],
  ['option mysql-check\n  server s 10.0.0.1:1 check', /there is no such check here; `type: tcp`/],
  [
    'option tcp-check\n  tcp-check expect rstring ^x\n  server s 10.0.0.1:1 check',
    /sends, and expects a text or bytes/,
  ],
  [
    'use-server s if TRUE\n  server s 10.0.0.1:1',
    /endpoints are not chosen by rules; clients of this backend are refused/,
  ],
  ['tcp-response content reject\n  server s 10.0.0.1:1', /what servers send is not looked at here/],
  ['server s 10.0.0.1:1 ssl verify none', /it would wrap the clients' own TLS in another/],
  ['', /it has no server that could be carried over/],
];

describe('of HAProxy', () => {
  for (const [line, told] of frontendLines) {
    test(line, () => {
      const { lost } = fromHaproxy(`frontend f
  bind 127.0.0.1:443
  tcp-request inspect-delay 1s
  tcp-request content reject if !{ req.ssl_hello_type 1 }
  ${line}
  default_backend one
backend one
  server s 10.0.0.1:1
backend two
  server s 10.0.0.2:1
`);
      assert.match(lost.join('\n'), told);
      assert.match(lost.join('\n'), /^haproxy\.cfg:5: not carried over: /m);
    });
  }

  for (const [line, told] of serverLines) {
    test(line.split('\n').at(-1) || 'no server', () => {
      const { lost } = fromHaproxy(`frontend f
  bind 127.0.0.1:443
  tcp-request content reject if !{ req.ssl_hello_type 1 }
  default_backend one
backend one
  ${line}
`);
      assert.match(lost.join('\n'), told);
    });
  }

  test('other sections and modes', () => {
    const { lost, config } = fromHaproxy(`
peers mine
  peer a 10.0.0.1:1024
listen web
  mode http
  bind :80
  server s 10.0.0.1:80
.if feature(OPENSSL)
listen maybe
  bind :81
.endif
listen tcp
  mode tcp
  bind :82
  server s 10.0.0.1:82
`);
    assert.match(lost.join('\n'), /cfg:2: .*peers mine: there are no such sections/);
    assert.match(lost.join('\n'), /cfg:4: .*listen web: it is in mode http/);
    assert.match(lost.join('\n'), /cfg:9: .*what is between \.if and \.endif may hold or not/);
    assert.deepEqual(Object.keys(config.listeners), ['tcp']);
  });

  test('every line is accounted for: none is passed over', () => {
    const text = `global
  frobnicate 1
defaults
  mode tcp
  twiddle
frontend f
  bind 127.0.0.1:443
  wibble wobble
  default_backend b
backend b
  jiggle
  server s 10.0.0.1:1
`;
    const lines = fromHaproxy(text).lost.map((note) => note.split(': ').slice(0, 3).join(': '));
    assert.deepEqual(lines, [
      'haproxy.cfg:2: not carried over: frobnicate 1',
      'haproxy.cfg:5: not carried over: twiddle',
      'haproxy.cfg:8: not carried over: wibble wobble',
      'haproxy.cfg:11: not carried over: jiggle',
    ]);
  });
});

/** A stream route with this besides its upstream, and what is said. */
const routeKeys: readonly [keys: object, told: RegExp][] = [
  [{ plugins: { 'my-auth': {} } }, /my-auth: it may decide who gets in.*refused/],
  [{ plugins: { 'limit-conn': { conn: 1 } } }, /limits\.connections_per_ip/],
  [{ plugins: { syslog: {} } }, /there are no plugins here/],
  [{ protocol: { name: 'redis' } }, /xRPC protocols are not known here/],
  [{ service_id: 9 }, /there is no service "9"; .*refused/],
  [{ service_id: null }, /there is no service null; .*refused/],
  [{ upstream: undefined, upstream_id: 9 }, /there is no upstream "9"/],
  [{ upstream: undefined, upstream_id: ['a'] }, /there is no upstream \["a"\]/],
  [
    { remote_addr: 'nonsense' },
    /"nonsense" is neither an address nor a CIDR; clients of this route are refused/,
  ],
  [{ server_port: `$${'{{PORT}}'}` }, /server_port: it is no number here; clients of this route are refused/],
  [
    { plugins: { 'ip-restriction': { whitelist: ['10.0.0.999'] } } },
    /"10\.0\.0\.999" is neither an address nor a CIDR; clients of this route are refused/,
  ],
  [{ server_addr: '10.0.0.0/8' }, /routes do not go by the address that was reached/],
  [{ upstream: { nodes: {} } }, /it has no nodes; its routes refuse their clients/],
  [{ upstream: { nodes: { 'db.example': 1 } } }, /expected host and port/],
  [
    { upstream: { discovery_type: 'nacos', service_name: 'db' } },
    /discovery by nacos of "db" has no counterpart/,
  ],
  [{ upstream: { nodes, type: 'chash', key: 'server_port' } }, /hashing on vars server_port/],
  [{ upstream: { nodes, retry_timeout: 5 } }, /retries have no time-out in common/],
  [{ upstream: { nodes, checks: { active: { type: 'http' } } } }, /checks by http: tcp takes their place/],
  [{ upstream: { nodes, checks: { active: { type: 'tcp', port: 1 }, passive: {} } } }, /passive checks/],
  [{ upstream: { nodes, scheme: 'tls', tls: { client_cert_id: 5 } } }, /there is no ssl "5" of type client/],
];

describe('of APISIX', () => {
  const settings = { apisix: { stream_proxy: { tcp: [9100] } } };

  for (const [keys, told] of routeKeys) {
    test(JSON.stringify(keys), () => {
      const route = { upstream: { nodes }, ...keys };
      const { lost, config } = fromApisix({ stream_routes: [route] }, settings);
      assert.match(lost.join('\n'), told);
      assert.match(lost.join('\n'), /^apisix-1:\d+: /);
      if (/refused|refuse their|no service|no upstream "9"|address that was reached/.test(lost.join('\n'))) {
        const refuses = config.listeners['stream-9100'].routes.every(({ deny }: { deny?: boolean }) => deny);
        assert.equal(refuses, true);
      }
    });
  }

  test('of certificates', async () => {
    const authority = await createAuthority();
    const own = await authority.issue({ dns: ['a.example'] });
    const ssl = (keys: object) => ({ id: 1, sni: 'a.example', cert: own.cert, key: own.key, ...keys });
    const told = (keys: object) =>
      fromApisix(
        { ssls: [ssl(keys)], stream_routes: [{ upstream: { nodes } }] },
        { apisix: { stream_proxy: { tcp: [{ addr: 9100, tls: true }] } } },
      ).lost.join('\n');
    assert.equal(told({}), '');
    assert.match(told({ client: { ca: authority.cert, depth: 2 } }), /client\.depth: chains .* any length/);
    assert.match(told({ ssl_protocols: ['TLSv1.1', 'TLSv1.2'] }), /TLSv1\.1 is not spoken here/);
    assert.match(
      told({ key: undefined }),
      /ssls\[0\]\.key: it is not there: APISIX's Admin API does not tell keys; put it into a\.example\.key/,
    );
    assert.match(told({ key: '$secret://vault/1/key' }), /a reference to a secret/);
    assert.match(told({ key: 'c2VjcmV0' }), /it is encrypted by APISIX/);
  });

  test('where it listens', () => {
    const routes = { stream_routes: [{ server_port: 9101, upstream: { nodes } }] };
    assert.match(
      fromApisix(routes).looks.join('\n'),
      /config\.yaml; assumed: on the ports of the routes \(9101\), no TLS/,
    );
    const { lost, config } = fromApisix(
      { stream_routes: [{ upstream: { nodes } }] },
      { apisix: { stream_proxy: { tcp: [{ addr: 9100, proxy_protocol: true }, 'nonsense'], udp: [9200] } } },
    );
    assert.match(lost.join('\n'), /only those of this machine are/);
    assert.match(lost.join('\n'), /"nonsense" is no address with a port/);
    assert.match(lost.join('\n'), /penstock proxies TCP only/);
    assert.deepEqual(config.listeners['stream-9100'].accept_proxy_protocol.from, ['127.0.0.1', '::1']);
  });
});
