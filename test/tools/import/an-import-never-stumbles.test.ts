/**
 * Proves that whatever is in a file, it is imported, or refused with its line: no text breaks the importer, and what comes out
 * is a configuration by the schema.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { configSchema } from '../../../src/config/schema/schema.ts';
import { ImportError } from '../../../src/tools/import/result.ts';
import {
  fromApisix,
  fromHaproxy,
  fromNginx,
  fromTraefik,
  type ImportedConfig,
} from '../../support/imported.ts';

const heads = [
  'global',
  'defaults',
  'frontend f',
  'frontend g',
  'listen l',
  'backend b',
  'backend b2',
  'peers p',
  'defaults d',
];
const keywords =
  'mode bind server default-server server-template use_backend default_backend acl tcp-request tcp-check option timeout balance maxconn stick-table retries ssl-default-bind-options ssl-default-bind-ciphers nbthread use-server tcp-response .if .endif';
const values =
  'tcp http :443 *:1-3 10.0.0.1:5 ::1:80 /run/s unix@x abns@y ssl crt a.pem ca-file ca.pem verify required optional none connection content session accept reject expect-proxy layer4 if unless or ! { } src 10.0.0.0/8 !{ req.ssl_sni ssl_fc_sni -m -i -f end reg sub str .example.com a.example *.b x ^(a|b)+$ ( [ req.ssl_hello_type 1 gt src_conn_rate ssl_c_s_dn(CN) ssl_c_used payload(0,4) -m bin 5353 dst_port inspect-delay 5s client connect tunnel 0 send expect string PING\\r\\n tcp-check pgsql-check check weight backup inter rise send-proxy sni str(x) sni ssl_fc_sni alpn h2 %[req.ssl_sni,lower,map(m)] %[x] b b2 crt-list list strict-sni accept-proxy v6only mode 660 user group db source hash 99999999999 -1 "quoted" \'single\' \\ # "$V"';

const words = (text: string) => fc.constantFrom(...text.split(' '));
const many = (text: string) =>
  fc.array(fc.constantFrom(...text.split('|')), { maxLength: 4 }).map((all) => all.join(' '));
const serverOptions =
  'check|weight 0|weight -1|weight 9999|weight x|backup|maxconn 5|maxconn -1|maxconn 1e9|maxqueue 0|ssl|ssl verify none|ca-file ca.pem|crt a.pem|sni ssl_fc_sni|sni str(x)|sni str(-)|verifyhost y|inter 0|inter 99d|rise 0|fall x|send-proxy|send-proxy-v2|proxy-v2-options ssl,x|alpn h2,|alpn|slowstart 0|slowstart 5s|observe layer4|error-limit 0|on-marked-down shutdown-sessions|ciphers A:B|ssl-min-ver TLSv1.3|ssl-max-ver TLSv1.2|source 1.2.3.4 usesrc client|disabled|enabled|no-ssl|check-ssl';
const bindOptions =
  'ssl|crt a.pem|crt b.pem|crt-list list|ca-file ca.pem|verify required|verify optional|crl-file crl|ca-file @system-ca|strict-sni|accept-proxy|alpn h2|alpn ,|v6only|maxconn 0|maxconn -3|ciphers AES:!x|ciphersuites y|curves z|ssl-min-ver TLSv1.3|ssl-max-ver TLSv1.2|no-tls-tickets|frob nicate';
const conditions =
  'if { src 10.0.0.0/8 }|if !{ src 10.0.0.1 }|unless { req.ssl_sni a.example }|if { req.ssl_sni -m reg ^a }|if { ssl_fc_sni -m end .x }|or { req.ssl_hello_type 1 }|!{ ssl_c_used }|if { ssl_c_s_dn(CN) a }|{ ssl_c_s_dn(OU) b }|if { dst_port 5 }|if { req.ssl_alpn h2 }|if { req.ssl_sni -m sub x }|if a|unless !a';
const line = fc.oneof(
  fc
    .tuple(words(keywords), fc.array(words(values), { maxLength: 8 }))
    .map(([keyword, rest]) => `${keyword} ${rest.join(' ')}`),
  fc
    .tuple(
      words('10.0.0.1:5 db:5 db ::1:5 /s 0.0.0.0:1 10.0.0.1:+5 db:99999 :0 "$H:$P"'),
      many(serverOptions),
    )
    .map(([address, options]) => `server s ${address} ${options}`),
  fc
    .tuple(words(':443 *:1-3 ::1:80 :::443 /s a:0 x "$H:$P" :70000 10.0.0.1:5,:6'), many(bindOptions))
    .map(([address, options]) => `bind ${address} ${options}`),
  fc
    .tuple(
      fc.constantFrom(
        'use_backend b',
        'use_backend l',
        'use_backend %[ssl_fc_sni,map(m,b)]',
        'tcp-request content reject',
        'tcp-request content accept',
        'tcp-request connection reject',
        'tcp-request connection expect-proxy layer4',
        'acl a src 1.2.3.4 acl',
      ),
      many(conditions),
    )
    .map(([rule, condition]) => `${rule} ${condition}`),
  fc.constantFrom(
    'default_backend b',
    'balance hash src',
    'timeout connect 0',
    'timeout client 99999999d',
    'timeout tunnel 0',
    'timeout queue 0',
    'retries -1',
    'retries x',
    'maxconn 0',
    'maxconn 99999999999',
    'option tcp-check',
    'tcp-check expect string "a\\"',
    'tcp-check send ""',
    'tcp-check send-binary zz',
    'tcp-request inspect-delay 0',
    'timeout client-fin 0',
    'option pgsql-check',
    'option httpchk',
    'option httpchk GET /x HTTP/1.1\\r\\nHost:\\ a',
    'option httpchk PUT x y',
    'http-check send meth HEAD uri /y hdr Host b hdr X z',
    'http-check expect status 200,300-200',
    'http-check expect ! rstatus ^5',
    'http-check expect string "a\\"',
    'tcp-check connect port 5 ssl',
    'server t 10.0.0.1:5 check port 99999 addr ::1 check-ssl check-sni x',
    'server t /s check port 5',
    'server t /s check addr 10.0.0.1 track b/s',
  ),
);
const section = fc
  .tuple(fc.constantFrom(...heads), fc.array(line, { maxLength: 8 }))
  .map(([head, lines]) => [head, ...lines.map((one) => `  ${one}`)].join('\n'));

/** As the files of a configuration would be, good and bad. */
const files = {
  m: 'a.example b\n.example b2\n# none\nodd\n',
  list: 'a.pem [verify required ca-file ca.pem] *.x !y.x\n\n!\n[\n',
};

function isSound(importing: () => ImportedConfig): void {
  let imported: ImportedConfig;
  try {
    imported = importing();
  } catch (error) {
    assert.ok(error instanceof ImportError, `${(error as Error).stack}`);
    return;
  }
  // Variables of the environment stand for whatever is right in their place.
  const parsed = configSchema.safeParse(parse(imported.yaml.replace(/\$\{[^}]*\}/g, '1')));
  assert.ok(parsed.success, `${imported.yaml}\n${parsed.error}`);
}

describe('haproxy.cfg', () => {
  test('of words in any order', () => {
    fc.assert(
      fc.property(fc.array(section, { maxLength: 6 }), (sections) => {
        isSound(() => fromHaproxy(sections.join('\n'), files));
      }),
      { numRuns: 400 },
    );
  });

  test('of any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) =>
        isSound(() => fromHaproxy(`listen a\n${text}`)),
      ),
      { numRuns: 300 },
    );
  });
});

describe("APISIX's objects", () => {
  const keys =
    'id sni snis cert key certs keys client ca depth status type ssl_protocols upstream upstream_id service_id nodes host port weight priority scheme tls client_cert_id checks active passive healthy interval timeout connect read retries key hash_on plugins ip-restriction whitelist blacklist remote_addr server_addr server_port protocol discovery_type service_name';
  const scalar = fc.oneof(
    words(
      'a.example *.example * 10.0.0.0/8 10.0.0.1:5 tls chash least_conn client x 1 dns db:1 ::1 10.0.0.1',
    ),
    fc.integer({ min: -5, max: 70000 }),
    fc.constantFrom(true, null, 0.5, '', '\u0000'),
  );
  const { value } = fc.letrec<{ value: unknown; object: object }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      scalar,
      fc.array(tie('value'), { maxLength: 3 }),
      tie('object'),
    ),
    object: fc.dictionary(words(keys), tie('value'), { maxKeys: 5 }),
  }));
  const node = fc.record(
    { host: scalar, port: scalar, weight: scalar, priority: scalar },
    { requiredKeys: [] },
  );
  const timeout = fc.record({ connect: scalar, send: scalar, read: scalar }, { requiredKeys: [] });
  const check = fc.record(
    { interval: scalar, successes: scalar, tcp_failures: scalar },
    { requiredKeys: [] },
  );
  const active = fc.record(
    { type: scalar, timeout: scalar, healthy: check, unhealthy: check },
    { requiredKeys: [] },
  );
  const upstream = fc.record(
    {
      nodes: fc.oneof(
        fc.array(node, { maxLength: 3 }),
        fc.dictionary(words('10.0.0.1:5 db:6 [::1]:7 x'), scalar),
      ),
      scheme: fc.constantFrom('tls', 'tcp'),
      timeout,
      retries: scalar,
      checks: fc.record({ active }),
      type: words('chash ewma least_conn roundrobin'),
    },
    { requiredKeys: ['nodes'] },
  );
  const route = fc.oneof(
    fc.dictionary(words(keys), value, { maxKeys: 8 }),
    fc.record(
      { id: scalar, name: scalar, sni: scalar, remote_addr: scalar, server_addr: scalar, upstream },
      { requiredKeys: ['upstream'] },
    ),
  );
  const ssl = fc.record(
    {
      id: scalar,
      sni: words('* *.example a.example *x'),
      cert: scalar,
      key: scalar,
      client: fc.record({ ca: scalar }),
      ssl_protocols: fc.array(words('TLSv1.1 TLSv1.2 TLSv1.3')),
    },
    { requiredKeys: ['sni', 'cert', 'key'] },
  );

  test('of any values', () => {
    fc.assert(
      fc.property(
        fc.array(route, { maxLength: 3 }),
        fc.array(fc.oneof(ssl, route), { maxLength: 3 }),
        fc.boolean(),
        (routes, ssls, tls) => {
          const settings = { apisix: { stream_proxy: { tcp: [{ addr: 9100, tls }] } } };
          isSound(() => fromApisix({ stream_routes: routes, ssls, upstreams: routes }, settings));
        },
      ),
      { numRuns: 400 },
    );
  });

  test('of any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => isSound(() => fromApisix(text))),
      { numRuns: 300 },
    );
  });
});

describe('aliases of YAML', () => {
  const routes = (upstream: string) => `stream_routes: [{ id: 1, server_port: 9, upstream: ${upstream} }]\n`;
  const refused: Readonly<Record<string, string>> = {
    'of nothing': routes('*nowhere'),
    'of themselves': routes('&a { nodes: *a }'),
    'that multiply': `a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n${routes('{}')}`,
  };
  for (const [what, text] of Object.entries(refused)) {
    test(`${what} are refused`, () => assert.throws(() => fromApisix(text), ImportError));
  }

  test('others are what they stand for', () => {
    const { config } = fromApisix(`x: &db { nodes: { "10.0.0.1:5432": 1 } }\n${routes('*db')}`);
    assert.deepEqual(config.upstreams['route-1'].endpoints, ['10.0.0.1:5432']);
  });
});

const nginxNames =
  'listen proxy_pass ssl_preread ssl_certificate ssl_certificate_key ssl_verify_client ssl_client_certificate ssl_protocols ssl_ciphers ssl_ecdh_curve ssl_alpn allow deny set_real_ip_from proxy_protocol proxy_ssl proxy_ssl_verify proxy_ssl_name proxy_ssl_trusted_certificate proxy_timeout proxy_connect_timeout preread_timeout proxy_next_upstream proxy_next_upstream_tries set return include server_name hostnames default weight least_conn hash random';
const nginxValues =
  'on off optional 443 127.0.0.1:1 [::]:5-6 unix:/s ssl proxy_protocol udp u v $m $g $ssl_preread_server_name $ssl_server_name $1 $a.crt 10.0.0.0/8 all unix: TLSv1.3 TLSv1 HIGH:!x auto 0 5s 1h30m 99999d -1 10.0.0.1:5 db:5 db :5 weight=0 weight=9999 backup down max_conns=3 max_fails=0 fail_timeout=x a.test *.b .c x.* ~^a(b ~*c$ "" default \\';
const nginxLine = fc
  .tuple(words(nginxNames), fc.array(words(nginxValues), { maxLength: 3 }))
  .map(([name, rest]) => `${name} ${rest.join(' ')};`);
const nginxMap = fc
  .array(fc.tuple(words(nginxValues), words(nginxValues)), { maxLength: 6 })
  .map((entries) => entries.map(([key, value]) => `${key} ${value};`).join(' '));
const nginxBlock = fc.oneof(
  fc
    .array(nginxLine, { maxLength: 8 })
    .map((lines) => `server { listen 443; proxy_pass $m; ${lines.join(' ')} }`),
  fc
    .array(nginxLine, { maxLength: 4 })
    .map((lines) => `upstream u { server 10.0.0.1:5; ${lines.join(' ')} }`),
  fc
    .tuple(
      fc.constantFrom(
        '$ssl_preread_server_name',
        '$ssl_server_name',
        '$remote_addr',
        '$ssl_preread_alpn_protocols',
        '$g',
        '$m',
      ),
      nginxMap,
    )
    .map(([source, entries]) => `map ${source} $m { hostnames; ${entries} }`),
  nginxMap.map((entries) => `geo $g { ${entries} }`),
  fc.constantFrom('split_clients $remote_addr $g { 50% u; * v; }', 'ssl_preread on;', 'js_import x;'),
);

describe('nginx.conf', () => {
  test('of words in any order', () => {
    fc.assert(
      fc.property(fc.array(nginxBlock, { maxLength: 6 }), (blocks) =>
        isSound(() => fromNginx(`stream { ${blocks.join('\n')} }`)),
      ),
      { numRuns: 400 },
    );
  });

  test('of any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) =>
        isSound(() => fromNginx(`stream { server { ${text}`)),
      ),
      { numRuns: 300 },
    );
  });
});

const traefikRule = fc
  .array(
    fc.constantFrom(
      'HostSNI(`a.test`)',
      'HostSNI(`*`)',
      'HostSNI(`*.x`)',
      'HostSNIRegexp(`^a.+\\.b$`)',
      'HostSNIRegexp(`(`)',
      'ClientIP(`10.0.0.0/8`)',
      'ClientIP(`x`)',
      'ALPN(`h2`)',
      '&&',
      '||',
      '!',
      '(',
      ')',
      ',',
    ),
    { maxLength: 5 },
  )
  .map((parts) => parts.join(' '));
const odd = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  words('a b default 1s 10.0.0.1:5 VersionTLS13 a.crt RequireAndVerifyClientCert m@file x@docker'),
);
const traefik = fc.record(
  {
    entryPoints: fc.record({
      e: fc.record(
        {
          address: fc.constantFrom(':443', '10.0.0.1:5/tcp', ':5/udp', 'x'),
          proxyProtocol: fc.oneof(odd, fc.record({ trustedIPs: fc.array(odd) })),
        },
        { requiredKeys: ['address'] },
      ),
    }),
    tcp: fc.record({
      routers: fc.dictionary(
        fc.constantFrom('r', 's', '-', '1'),
        fc.record(
          {
            rule: traefikRule,
            service: fc.constantFrom('a', 'w', 'none'),
            priority: odd,
            tls: fc.oneof(odd, fc.record({ passthrough: odd, options: odd })),
            middlewares: fc.oneof(odd, fc.constant(['m'])),
          },
          { requiredKeys: ['rule', 'service'] },
        ),
      ),
      services: fc.record({
        a: fc.record({
          loadBalancer: fc.record(
            {
              servers: fc.array(
                fc.record({ address: fc.constantFrom('10.0.0.1:5', 'db:5', 'x', ':1'), tls: fc.boolean() }),
              ),
              serversTransport: odd,
              healthCheck: odd,
              proxyProtocol: odd,
            },
            { requiredKeys: ['servers'] },
          ),
        }),
        w: fc.record({
          weighted: fc.record({
            services: fc.array(
              fc.record({ name: fc.constantFrom('a', 'w'), weight: fc.oneof(fc.nat(), odd) }),
            ),
          }),
        }),
      }),
      middlewares: fc.record({
        m: fc.oneof(
          odd,
          fc.record({
            ipAllowList: fc.record({ sourceRange: fc.array(fc.constantFrom('10.0.0.0/8', 'x')) }),
          }),
        ),
      }),
    }),
    tls: fc.record(
      {
        certificates: fc.array(fc.record({ certFile: odd, keyFile: odd })),
        options: fc.record({
          default: fc.oneof(
            odd,
            fc.record({
              minVersion: odd,
              clientAuth: fc.record({ clientAuthType: odd, caFiles: fc.array(odd) }),
              sniStrict: odd,
              alpnProtocols: odd,
            }),
          ),
        }),
      },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: ['entryPoints', 'tcp'] },
);

test("Traefik's files of values in any place", () => {
  fc.assert(
    fc.property(traefik, (config) => isSound(() => fromTraefik(JSON.stringify(config)))),
    { numRuns: 400 },
  );
});

test('TOML of any text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) =>
      isSound(() => fromTraefik(`[tcp]\n${text}`)),
    ),
    { numRuns: 300 },
  );
});
