/**
 * Proves that nothing of an imported configuration is lost in silence: for each thing that penstock does not have there is a
 * line with its place and the reason, and where it decided who gets in, or where to, clients are refused.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createAuthority } from '../../support/certificates.ts';
import { fromApisix, fromHaproxy } from '../../support/imported.ts';

const nodes = { '10.0.0.1:5432': 1 };

/** Lines of a frontend that passes through to `one`, and what is said of them. */
const frontendLines: readonly [line: string, told: RegExp][] = [
  ['stick-table type ip size 1m store conn_cur', /stick-table .*: penstock has no such tables/],
  ['tcp-request connection reject if { src_conn_cur gt 20 }', /assumed to be false .*connections_per_ip: 20/],
  ['tcp-request connection reject if { sc0_conn_rate ge 50 }', /rate_per_ip of the listener is the nearest/],
  ['tcp-request content set-var(txn.a) src', /penstock has no rules that count or mark/],
  [
    'tcp-request content lua.check if TRUE',
    /penstock has no such action; clients it may apply to are refused/,
  ],
  [
    'tcp-request content reject if { hdr(host) a }',
    /penstock cannot ask for that; clients it may apply to are refused/,
  ],
  ['tcp-request content reject if unheard', /there is no acl "unheard"/],
  ['tcp-request content reject if { src -f nowhere.lst }', /nowhere\.lst cannot be read/],
  ['use_backend two if { req.ssl_sni -m sub x }', /cannot be known in advance: they are refused/],
  ['use_backend nowhere', /there is no backend "nowhere" in mode tcp/],
  ['use_backend %[var(txn.b)]', /where this leads cannot be known in advance/],
  ['rate-limit sessions 10', /limits\.rate_per_ip/],
  ['filter compression', /filter compression: penstock does not know it, .* are refused/],
  ['tcp-request frobnicate reject', /penstock does not know it, .* are refused/],
  ['bind 127.0.0.1:444 interface eth0', /interface eth0: it is bound on all interfaces .*all are refused/],
  ['bind 127.0.0.1:444 wibble', /wibble: penstock has no such setting; .*all are refused/],
  ['option wibble', /penstock has no such setting/],
  ['bind abns@name', /penstock has no such addresses/],
  // Words that every object of JavaScript knows.
  ['bind :9 toString', /toString: penstock has no such setting/],
  ['tcp-request content constructor', /penstock has no such action/],
  ['tcp-request content reject if constructor', /there is no acl "constructor"/],
  ['bind "abns@a\\n\\x1b[31m"', /abns@a\\u000a\\u001b\[31m: penstock has no such addresses/],
];

const serverLines: readonly [line: string, told: RegExp][] = [
  ['server s 10.0.0.1:1 __proto__', /server s: __proto__: penstock has no such setting/],
  ['option constructor\n  server s 10.0.0.1:1', /option constructor/],
  [
    'server s 10.0.0.1:1 send-proxy-v2 proxy-v2-options valueOf',
    /proxy-v2-options valueOf: penstock has no such TLV/,
  ],
  ['server s 10.0.0.1:1 source 10.0.0.9', /the system chooses the address that is dialled from/],
  ['server s 10.0.0.1:1 agent-check agent-port 5', /penstock has no agent checks/],
  [
    'server s 10.0.0.1:1\n  server t 10.0.0.2:1 send-proxy',
    /server t: its TLS or PROXY settings are not those of s/,
  ],
  ['server s 10.0.0.1:1 check port 0', /it has no port from 1 to 65535; `type: tcp` takes its place/],
  ['option external-check\n  server s 10.0.0.1:1 check', /penstock runs no programs to check servers/],
  ['option httpchk PUT /x\n  server s 10.0.0.1:1 check', /penstock does not ask by PUT/],
  ['server s 10.0.0.1:1 socks4 10.0.0.9:1080', /socks4 has no counterpart; it is left out/],
  ['server s 0.0.0.0:1', /penstock does not dial the address that the client meant/],
  [
    'balance url_param id\n  server s 10.0.0.1:1',
    /penstock does not balance this way; round_robin takes its place/,
  ],
  ['stick on src\n  server s 10.0.0.1:1', /penstock has no such tables/],
  ['option spop-check\n  server s 10.0.0.1:1 check', /penstock has no such check; `type: tcp`/],
  [
    'option tcp-check\n  tcp-check expect rstring ^x\n  server s 10.0.0.1:1 check',
    /sends, and expects texts or bytes/,
  ],
  [
    'use-server s if TRUE\n  server s 10.0.0.1:1',
    /penstock does not choose endpoints by rules; clients of this backend are refused/,
  ],
  ['tcp-response content reject\n  server s 10.0.0.1:1', /penstock does not inspect what servers send/],
  ['server s 10.0.0.1:1 ssl verify none', /it would wrap the clients' own TLS in another/],
  ['', /it has no server that could be carried over/],
];

describe('of HAProxy', () => {
  for (const [line, told] of frontendLines) {
    test(line, () => {
      const { lost, config } = fromHaproxy(`frontend f
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
      if (!/are refused$|are refused;/.test(lost[0] ?? '') || line.includes(' if ')) return;
      const last = Object.values<{ routes: object[] }>(config.listeners).at(-1);
      assert.deepEqual(last?.routes.at(-1), { deny: true });
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
    assert.match(lost.join('\n'), /cfg:2: .*peers mine: penstock has no such sections/);
    assert.match(lost.join('\n'), /cfg:4: .*listen web: it is in mode http/);
    assert.match(lost.join('\n'), /cfg:9: .*what is between \.if and \.endif may hold or not/);
    assert.deepEqual(Object.keys(config.listeners), ['tcp']);
  });

  test('a line between .if and .endif may turn clients away, so they are refused; whole sections there are left out', () => {
    const routes = (text: string) => fromHaproxy(text).config.listeners.a.routes;
    const a = 'listen a\n  bind :81\n  server s 10.0.0.1:1\n';
    assert.deepEqual(routes(`${a}.if streq(a,b)\n  tcp-request content reject\n.endif\n`), [{ deny: true }]);
    assert.deepEqual(routes(`defaults\n.if streq(a,b)\n  tcp-request content reject\n.endif\n${a}`), [
      { deny: true },
    ]);
    const b = '.if streq(a,b)\nlisten b\n  bind :82\n';
    assert.deepEqual(routes(`${a}${b}.endif\nlisten c\n  bind :83\n`), [
      { name: 'a', tls: 'off', upstream: 'a' },
    ]);
    assert.deepEqual(routes(`${a}${b}.endif\n  tcp-request content reject\n`), [{ deny: true }]);
    // It may be of either section.
    const behind = fromHaproxy(`${a}${b}.endif\n  tcp-request content reject\n`).lost.join('\n');
    assert.match(behind, /cfg:8: .*tcp-request content reject: what is between .if and .endif may hold/);
    assert.deepEqual(routes(`${a}${b}.else\n  tcp-request content reject\n.endif\n`), [{ deny: true }]);
  });

  test('a word that is not known swallows none that is', async () => {
    const { chain, key } = await (await createAuthority()).issue({ dns: ['a.example'] });
    const { config, lost } = fromHaproxy(
      `frontend f
  bind :1 ssl crt-list list strict-sni
  default_backend b
backend b
  server s 10.0.0.1:1 wibble ssl verify none
`,
      {
        list: 'a.pem [wibble verify required ca-file ca.pem]\na.pem [verify none] b.example',
        'a.pem': chain + key,
      },
    );
    assert.equal(lost.length, 2);
    assert.deepEqual(
      config.listeners.f.routes.map(({ sni, deny }: { sni: string; deny?: boolean }) => [sni, deny]),
      [
        ['a.example', true],
        ['b.example', undefined],
      ],
    );
    assert.equal(config.upstreams.b.tls.verify, 'none');
  });

  test('whom an entry of a crt-list with a word that is not known may be for is refused', async () => {
    const authority = await createAuthority();
    const pem = async (keyType: 'ec' | 'rsa') => {
      const { chain, key } = await authority.issue({ dns: ['a.example'], keyType });
      return chain + key;
    };
    const files = { 'ec.pem': await pem('ec'), 'rsa.pem': await pem('rsa') };
    const routes = (list: string) =>
      fromHaproxy(
        'frontend f\n  bind :1 ssl crt-list list\n  default_backend b\nbackend b\n  server s 10.0.0.1:1\n',
        { list, ...files },
      ).config.listeners.f.routes.map(({ sni, deny }: { sni?: string; deny?: true }) => [sni, deny]);
    assert.deepEqual(routes('ec.pem'), [[undefined, undefined]]);
    assert.deepEqual(routes('ec.pem [wibble]'), [[undefined, true]]);
    // Which of the two HAProxy shows is up to the types of keys that a client takes.
    assert.deepEqual(routes('ec.pem\nec.pem a.example\nrsa.pem [wibble] a.example'), [
      ['a.example', true],
      [undefined, undefined],
    ]);
  });

  test('what has no meaning here is told, of `bind` lines, too', () => {
    const { notes } = fromHaproxy(
      'listen l\n  bind :1 backlog 5 thread 2 name x tfo\n  server s 10.0.0.1:1 id 7 tfo\n',
    );
    assert.deepEqual(
      notes.map(({ kind, what }) => `${kind}: ${what}`),
      [
        'left_out: backlog 5',
        'left_out: thread 2',
        'left_out: name x',
        'left_out: tfo',
        'left_out: server s: id 7',
        'left_out: server s: tfo',
      ],
    );
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
      'haproxy.cfg:7: not carried over: bind 127.0.0.1:443',
      'haproxy.cfg:8: not carried over: wibble wobble',
      'haproxy.cfg:11: not carried over: jiggle',
    ]);
  });
});

/** A stream route with this besides its upstream, and what is said. */
const routeKeys: readonly [keys: object, told: RegExp][] = [
  [{ plugins: { 'my-auth': {} } }, /my-auth: it may decide who gets in.*refused/],
  [{ plugins: { 'limit-conn': { conn: 1 } } }, /limits\.connections_per_ip/],
  [{ plugins: { syslog: {} } }, /penstock has no plugins/],
  [{ protocol: { name: 'redis' } }, /penstock knows no xRPC protocols/],
  [{ service_id: 9 }, /there is no service "9"; .*refused/],
  [{ service_id: null }, /there is no service null; .*refused/],
  [{ upstream: undefined, upstream_id: 9 }, /there is no upstream "9"/],
  [{ upstream: undefined, upstream_id: ['a'] }, /there is no upstream \["a"\]/],
  [
    { remote_addr: 'nonsense' },
    /"nonsense" is neither an address nor a CIDR; clients of this route are refused/,
  ],
  [{ server_port: `$${'{{PORT}}'}` }, /server_port: it is not a number; clients of this route are refused/],
  [
    { plugins: { 'ip-restriction': { whitelist: ['10.0.0.999'] } } },
    /"10\.0\.0\.999" is neither an address nor a CIDR; clients of this route are refused/,
  ],
  [
    { snis: ['a.example', 'b.example'] },
    /stream_routes\[0\]\.snis: penstock does not know it, .* are refused/,
  ],
  [{ status: 0 }, /stream_routes\[0\]\.status: penstock does not know it, .* are refused/],
  [{ sni: ['a.example'] }, /stream_routes\[0\]\.sni: it is not text; clients of this route are refused/],
  [{ server_addr: ['10.0.0.1'] }, /routes do not match the address that was reached/],
  [{ plugins: ['ip-restriction'] }, /plugins: it may decide who gets in.*refused/],
  [{ plugins: { 'ip-restriction': { whitelist: '10.0.0.1' } } }, /clients of this route are refused/],
  [{ plugins: { 'ip-restriction': { blacklist: ['10.0.0.1', {}] } } }, /clients of this route are refused/],
  [
    { plugins: { 'ip-restriction': { whitelist: '10.0.0.1', blacklist: ['10.0.0.2'] } } },
    /clients of this route are refused/,
  ],
  [
    { plugins: { 'ip-restriction': { whitelist: ['10.0.0.1'], blacklist: ['10.0.0.2'] } } },
    /clients of this route are refused/,
  ],
  [{ protocol: { name: 'redis', superior_id: 1 } }, /it is subordinate to a route of an xRPC protocol/],
  [
    { plugins: { 'ip-restriction': { whitelist: ['10.0.0.1'], _meta: { filter: [] } } } },
    /ip-restriction\._meta\.filter: penstock does not know it, .* are refused/,
  ],
  [
    { upstream: { nodes, checks: { wakeful: 1 } } },
    /upstream\.checks\.wakeful: penstock has no such setting/,
  ],
  [{ service_id: 4 }, /services\[0\]\.hosts: penstock does not know it, .* are refused/],
  [{ server_addr: '10.0.0.0/8' }, /routes do not match the address that was reached/],
  [{ upstream: { nodes: {} } }, /it has no nodes; its routes refuse their clients/],
  [{ upstream: { nodes: { 'db.example': 1 } } }, /expected host and port/],
  [
    { upstream: { discovery_type: 'nacos', service_name: 'db' } },
    /discovery by nacos of "db" has no counterpart/,
  ],
  [{ upstream: { nodes, type: 'chash', key: 'server_port' } }, /hashing on vars server_port/],
  [{ upstream: { nodes, retry_timeout: 5 } }, /penstock has no time-out over all retries/],
  [
    { upstream: { nodes, checks: { active: { type: 'http', req_headers: ['X: y'] } } } },
    /penstock sends no other header/,
  ],
  [{ upstream: { nodes, checks: { active: { type: 'tcp', port: 1 }, passive: {} } } }, /passive checks/],
  [{ upstream: { nodes, scheme: 'tls', tls: { client_cert_id: 5 } } }, /there is no ssl "5" of type client/],
];

describe('of APISIX', () => {
  const settings = { apisix: { stream_proxy: { tcp: [9100] } } };

  for (const [keys, told] of routeKeys) {
    test(JSON.stringify(keys), () => {
      const route = { upstream: { nodes }, ...keys };
      const services = [{ id: 4, hosts: ['a.example'] }];
      const { lost, config } = fromApisix({ stream_routes: [route], services }, settings);
      assert.match(lost.join('\n'), told);
      assert.match(lost.join('\n'), /^apisix-1:\d+: /);
      const isTold =
        /refused|refuse their|subordinate|no service|no upstream|address that was reached|no counterpart/;
      const refuses = config.listeners['stream-9100'].routes.every(({ deny }: { deny?: boolean }) => deny);
      assert.equal(refuses, isTold.test(lost.join('\n')));
    });
  }

  test('of certificates', async () => {
    const authority = await createAuthority();
    const own = await authority.issue({ dns: ['a.example'] });
    const ssl = (keys: object) => ({ id: 1, sni: 'a.example', cert: own.cert, key: own.key, ...keys });
    const told = (keys: object) => {
      const { lost, config } = fromApisix(
        { ssls: [ssl(keys)], stream_routes: [{ upstream: { nodes } }] },
        { apisix: { stream_proxy: { tcp: [{ addr: 9100, tls: true }] } } },
      );
      const [route] = config.listeners['stream-9100'].routes;
      assert.equal(route.deny === true, / are refused/.test(lost.join()));
      return lost.join('\n');
    };
    assert.equal(told({}), '');
    assert.match(
      told({ client: { ca: authority.cert, depth: 2 } }),
      /client\.depth: .* chains of any length/,
    );
    assert.match(told({ ssl_protocols: ['TLSv1.1', 'TLSv1.2'] }), /penstock does not speak TLSv1\.1/);
    assert.match(
      told({ key: undefined }),
      /ssls\[0\]\.key: it is not there: APISIX's Admin API does not tell keys; put it into a\.example\.key/,
    );
    assert.match(told({ key: '$secret://vault/1/key' }), /refers to a secret/);
    assert.match(told({ key: 'c2VjcmV0' }), /APISIX has encrypted it/);
    assert.match(told({ client: { ca: authority.cert, mode: 1 } }), /client\.mode: .* are refused/);
    assert.match(told({ labels: { a: 'b' } }), /^$/);
  });

  test('every key is accounted for: none is passed over', async () => {
    const own = await (await createAuthority()).issue({ dns: ['a.example'] });
    const { cert, key } = own;
    const upstream = { nodes, desc: 'a', wibble: { wobble: 1 } };
    const objects = {
      ssls: [
        { sni: 'a.example', cert, key, create_time: 1 },
        { sni: 'b.example', status: 0, wobble: 1 },
      ],
      stream_routes: [
        {
          upstream_id: 1,
          plugins: {
            syslog: { host: 'a' },
            'ip-restriction': { blacklist: ['10.0.0.1'], message: 'no', response_code: 403 },
            'mqtt-proxy': { _meta: { disable: true } },
          },
        },
        { sni: 'b.example', upstream, jiggle: 1 },
      ],
      upstreams: [
        { id: 1, ...upstream },
        { id: 2, nodes },
      ],
      services: [{ id: 3 }],
      routes: [{ uri: '/' }],
      stream_rules: [{ deny: 'all' }],
    };
    const tcp = [
      { addr: 9100, tls: true },
      { addr: 9101, twiddle: 1 },
    ];
    const { notes, lost, config } = fromApisix(objects, {
      apisix: {
        stream_proxy: { tcp, only: true },
        ssl: { enable: true, ssl_protocols: 'TLSv1.3', fallback_sni: 'a.example' },
      },
      nginx_config: { worker_processes: 1 },
    });
    const told = notes.map(({ kind, what }) => `${kind}: ${what}`);
    assert.match(lost.join('\n'), /tcp\[1\]\.twiddle: penstock does not know it, .* are refused/);
    // What is within something that is told is not told again.
    assert.deepEqual(told.filter((note) => !note.startsWith('look')).sort(), [
      'left_out: apisix.ssl.enable',
      'left_out: routes',
      'left_out: services[0]',
      'left_out: ssls[0].create_time',
      'left_out: ssls[1]',
      'left_out: stream_routes[0].plugins.ip-restriction.message',
      'left_out: stream_routes[0].plugins.ip-restriction.response_code',
      'left_out: stream_routes[0].plugins.mqtt-proxy',
      'left_out: upstreams[0].desc',
      'left_out: upstreams[1]',
      'not_carried: apisix.ssl.ssl_protocols',
      'not_carried: apisix.stream_proxy.only',
      'not_carried: apisix.stream_proxy.tcp[1].twiddle',
      'not_carried: port 9101',
      'not_carried: stream_routes[0].plugins.syslog',
      'not_carried: stream_routes[1].jiggle',
      'not_carried: stream_rules',
      'not_carried: upstreams[0].wibble',
    ]);
    assert.deepEqual(config.listeners['stream-9101'].routes, [{ deny: true }]);
  });

  test('directives of nginx itself may turn clients away, and what may be TLS is taken for it', () => {
    const routes = { stream_routes: [{ upstream: { nodes } }] };
    const from = (tcp: unknown, nginx_config = {}) => {
      const { config, lost } = fromApisix(routes, { apisix: { stream_proxy: { tcp: [tcp] } }, nginx_config });
      return [config.listeners['stream-9100'].routes, lost.join('\n')] as const;
    };
    const [open] = from(9100, { http_configuration_snippet: 'deny all;' });
    assert.equal(open[0].tls, 'off');
    const [refused, told] = from(9100, { stream_configuration_snippet: 'deny all;' });
    assert.deepEqual(refused, [{ deny: true }]);
    assert.match(
      told,
      /nginx_config\.stream_configuration_snippet: penstock does not know it, .* are refused/,
    );
    assert.deepEqual(from({ addr: 9100, tls: `$${'{{TLS}}'}` })[0], [{ deny: true }]);
    assert.deepEqual(from({ addr: 9100, tls: 'yes' })[0], [{ deny: true }]);
    for (const tls of [false, null]) assert.equal(from({ addr: 9100, tls })[0][0].tls, 'off');
  });

  test('where it listens', () => {
    const routes = { stream_routes: [{ server_port: 9101, upstream: { nodes } }] };
    assert.match(
      fromApisix(routes).looks.join('\n'),
      /with TLS; assumed: on the ports of the routes \(9101\), no TLS/,
    );
    const { lost, config } = fromApisix(
      { stream_routes: [{ upstream: { nodes } }] },
      { apisix: { stream_proxy: { tcp: [{ addr: 9100, proxy_protocol: true }, 'nonsense'], udp: [9200] } } },
    );
    assert.match(lost.join('\n'), /only this machine’s are/);
    assert.match(lost.join('\n'), /"nonsense" is no address with a port/);
    assert.match(lost.join('\n'), /penstock proxies TCP only/);
    assert.deepEqual(config.listeners['stream-9100'].accept_proxy_protocol.from, ['127.0.0.1', '::1']);
  });
});
