/**
 * What Traefik's TCP routers, services and TLS options say is carried over, from YAML and TOML alike, in the order in which Traefik
 * tries them; what is not understood turns clients away, and is reported.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse } from 'yaml';
import { configSchema } from '../../../src/config/schema/schema.ts';
import { ImportError } from '../../../src/tools/import/result.ts';
import { parseToml } from '../../../src/tools/import/traefik/toml.ts';
import { createAuthority } from '../../support/certificates.ts';
import { echoUpstream, tlsTalk } from '../../support/clients.ts';
import { fromTraefik, serveImported } from '../../support/imported.ts';
import { exchange } from '../../support/proxy.ts';
import { tlsUpstream } from '../../support/tls-upstream.ts';

const entryPoints = 'entryPoints: { db: { address: ":5432" } }';

/** One router, or several, at one entry point, with the services a and b. */
function imported(routers: string, more = '') {
  const result = fromTraefik(
    entryPoints,
    `tcp:
  routers: ${routers}
  services:
    a: { loadBalancer: { servers: [{ address: "10.0.0.1:1" }] } }
    b: { loadBalancer: { servers: [{ address: "10.0.0.2:1" }] } }
${more}`,
  );
  configSchema.parse(result.config);
  return { ...result, routes: result.config.listeners.db.routes as Record<string, unknown>[] };
}

/** What a route does, in short. */
function inShort({ sni, alpn, from, deny, upstream, tls }: Record<string, unknown>): string {
  const when = [sni, alpn && `alpn ${alpn}`, from && `from ${from}`].filter(Boolean).join(' ');
  return `${when || 'any'}: ${deny ? 'refused' : `${typeof tls === 'string' ? tls : 'terminated'} to ${upstream}`}`;
}

const passed = 'tls: { passthrough: true }';
const cases: readonly (readonly [what: string, routers: string, routes: readonly string[]])[] = [
  ['a name', `{ r: { rule: "HostSNI(\`a.test\`)", service: a, ${passed} } }`, ['a.test: passthrough to a']],
  [
    'names, version 2',
    `{ r: { rule: "HostSNI(\`a.test\`, \`b.test\`)", service: a@file, ${passed} } }`,
    ['a.test,b.test: passthrough to a'],
  ],
  [
    'the rule for any name comes last, whatever its length',
    `{ any: { rule: "HostSNI(\`*\`)", service: b, ${passed} }, r: { rule: "HostSNI(\`a.b\`)", service: a, ${passed} } }`,
    ['a.b: passthrough to a', 'any: passthrough to b'],
  ],
  [
    'unless it has a priority',
    `{ any: { rule: "HostSNI(\`*\`)", priority: 100, service: b, ${passed} }, r: { rule: "HostSNI(\`a.b\`)", service: a, ${passed} } }`,
    ['any: passthrough to b'],
  ],
  [
    'the longer rule comes first',
    `{ r: { rule: "HostSNI(\`a.b\`)", service: a, ${passed} }, s: { rule: "HostSNI(\`a.b\`) && ClientIP(\`10.0.0.0/8\`)", service: b, ${passed} } }`,
    ['a.b from 10.0.0.0/8: passthrough to b', 'a.b: passthrough to a'],
  ],
  [
    'not, or, parentheses',
    `{ r: { rule: "(HostSNI(\`a.b\`) || HostSNI(\`c.d\`)) && !ClientIP(\`10.0.0.0/8\`) && ALPN(\`h2\`)", service: a, ${passed} } }`,
    [`a.b,c.d alpn h2 from ${'0.0.0.0/5'}`],
  ],
  [
    'an expression for names below one',
    `{ r: { rule: "HostSNIRegexp(\`^.+\\\\.a\\\\.test$\`)", service: a, ${passed} } }`,
    ['*.a.test: passthrough to a'],
  ],
  ['without TLS', '{ r: { rule: "HostSNI(`*`)", service: a } }', ['any: off to a']],
  [
    'beside TLS',
    `{ r: { rule: "HostSNI(\`*\`)", service: a }, s: { rule: "HostSNI(\`a.b\`)", service: b, ${passed} } }`,
    ['a.b: passthrough to b', 'any: off to a'],
  ],
];

describe('routers', () => {
  for (const [what, routers, routes] of cases) {
    test(what, () => {
      const { routes: made, lost } = imported(routers);
      assert.deepEqual(lost, []);
      for (const [index, route] of routes.entries())
        assert.ok(inShort(made[index] ?? {}).startsWith(route), inShort(made[index] ?? {}));
      assert.equal(made.length, routes.length);
    });
  }
});

const options = (inner: string) =>
  `tls: { certificates: [{ certFile: a.crt, keyFile: a.key }], options: { default: ${inner} } }`;
const terminating = '{ r: { rule: "HostSNI(`*`)", service: a, tls: {} } }';
const refused: readonly (readonly [what: string, ...args: Parameters<typeof imported>])[] = [
  ['a matcher nobody knows', `{ r: { rule: "Lottery(\`a\`)", service: a, ${passed} } }`],
  ['a rule cut short', `{ r: { rule: "HostSNI(\`a.b\`) &&", service: a, ${passed} } }`],
  ['a name with a wildcard', `{ r: { rule: "HostSNI(\`*.b\`)", service: a, ${passed} } }`],
  ['an expression of version 2', `{ r: { rule: "HostSNIRegexp(\`{x:.+}.b\`)", service: a, ${passed} } }`],
  ['a key of a router nobody knows', `{ r: { rule: "HostSNI(\`*\`)", service: a, gate: 1, ${passed} } }`],
  [
    'a middleware that is not there',
    `{ r: { rule: "HostSNI(\`*\`)", service: a, middlewares: [m], ${passed} } }`,
  ],
  ['a service that is not there', `{ r: { rule: "HostSNI(\`*\`)", service: c, ${passed} } }`],
  ['a service of another provider', `{ r: { rule: "HostSNI(\`*\`)", service: a@docker, ${passed} } }`],
  ['no certificate', terminating],
  [
    'options that are not there',
    '{ r: { rule: "HostSNI(`*`)", service: a, tls: { options: o } } }',
    options('{}'),
  ],
  [
    'any client certificate',
    terminating,
    options('{ clientAuth: { clientAuthType: RequireAnyClientCert, caFiles: [c.crt] } }'),
  ],
  [
    'client certificates of no CA',
    terminating,
    options('{ clientAuth: { clientAuthType: RequireAndVerifyClientCert } }'),
  ],
  ['an option nobody knows', terminating, options('{ gate: 1 }')],
  ['strict names of a certificate that cannot be read', terminating, options('{ sniStrict: true }')],
];

describe('turned away, and reported', () => {
  for (const [what, ...args] of refused) {
    test(what, () => {
      const { routes, lost, yaml } = imported(...args);
      assert.ok(
        routes.every(({ deny }) => deny === true),
        yaml,
      );
      assert.ok(lost.length > 0);
    });
  }
});

test('client certificates, versions, protocols', () => {
  const { routes, lost, config } = imported(
    terminating,
    options(
      '{ minVersion: VersionTLS13, alpnProtocols: [postgresql], clientAuth: { caFiles: [c.crt] }, disableSessionTickets: true }',
    ),
  );
  assert.deepEqual(lost, []);
  assert.deepEqual(routes[0]?.['tls'], {
    certificates: ['a'],
    alpn: ['postgresql'],
    min_version: '1.3',
    session_tickets: false,
    client_auth: { mode: 'require', authority: 'clients' },
  });
  assert.deepEqual(config.authorities.clients, { ca: 'c.crt' });
});

test('services: weights, TLS, PROXY headers, checks', () => {
  const { config, lost } = fromTraefik(
    entryPoints,
    `tcp:
  routers: { r: { rule: "HostSNI(\`*\`)", service: all } }
  services:
    all: { weighted: { services: [{ name: one, weight: 3 }, { name: two, weight: 1 }, { name: none, weight: 0 }] } }
    one: { loadBalancer: { serversTransport: t, proxyProtocol: { version: 1 }, servers: [{ address: "10.0.0.1:1", tls: true }] } }
    two: { loadBalancer: { serversTransport: t, proxyProtocol: { version: 1 }, servers: [{ address: "10.0.0.2:1", tls: true }] } }
  serversTransports:
    t: { dialTimeout: 5s, tls: { serverName: db.internal, rootCAs: [ca.crt], certificates: [{ certFile: c.crt, keyFile: c.key }] } }
`,
  );
  assert.deepEqual(lost, []);
  configSchema.parse(config);
  assert.deepEqual(config.upstreams.all, {
    endpoints: [{ address: '10.0.0.1:1', weight: 3 }, '10.0.0.2:1'],
    tls: { server_name: 'db.internal', certificate: 'proxy-client', authority: 'servers' },
    send_proxy_protocol: 'v1',
    timeouts: { connect: '5s' },
  });
});

test('TOML is read as YAML is', () => {
  const toml = `
# A comment.
[entryPoints.db]
  address = ":5432" # another
[tcp.routers."r.1"]
  rule = "HostSNI(\`a.test\`) || HostSNI(\`b.test\`)"
  service = 'a'
  priority = 1_0
  tls.passthrough = true
[tcp.services.a.loadBalancer]
  [[tcp.services.a.loadBalancer.servers]]
    address = "10.0.0.1:1"
  [[tcp.services.a.loadBalancer.servers]]
    address = """10.0.0.2:1"""
[tls]
certificates = [
  { certFile = "a.crt", keyFile = "a.key" }, # inline
]
`;
  const { config, lost } = fromTraefik(toml);
  assert.deepEqual(lost, []);
  assert.deepEqual(config.upstreams.a.endpoints, ['10.0.0.1:1', '10.0.0.2:1']);
  assert.deepEqual(config.listeners.db.routes[0].sni, ['a.test', 'b.test']);
  const { notes } = fromTraefik(
    `${toml}\n[tcp.middlewares.m.wibble]\n[tcp.routers.s]\nrule = "HostSNI(\`*\`)"\nservice = "a"\nmiddlewares = ["m"]\n`,
  );
  assert.equal(notes.find(({ what }) => what.includes('middlewares[0]'))?.line, 24);
});

const values: readonly (readonly [toml: string, value: unknown])[] = [
  ['a = "x\\ty\\u00e9\\"" # z', { a: 'x\tyé"' }],
  ["a = 'C:\\x'", { a: 'C:\\x' }],
  ['a = """\nx \\\n   y"""', { a: 'x y' }],
  ["a = '''\nx'y'''", { a: "x'y" }],
  ['a = [1, 0x1F, -2.5e3, 1_000, true]', { a: [1, 31, -2500, 1000, true] }],
  ['a = 2026-11-29T10:00:00Z', { a: '2026-11-29T10:00:00Z' }],
  ['a.b."c.d" = {}', { a: { b: { 'c.d': {} } } }],
  [
    '[a]\nx = 1\n[a.b]\ny = 2\n[[c]]\nz = 3\n[[c]]\n[c.d]\nw = 4',
    { a: { x: 1, b: { y: 2 } }, c: [{ z: 3 }, { d: { w: 4 } }] },
  ],
];
const faulty = [
  'a',
  'a = ',
  'a = x',
  'a = 1 b = 2',
  'a = 1\na = 2',
  '[a]\n[a]',
  'a = "\\q"',
  'a = [1',
  'a = {b = 1',
  '[a',
  'a = 1\n[a]',
  '[[a]]\n[a.b]\n[[a.b]]',
];

test('what TOML says', () => {
  for (const [text, value] of values) assert.deepEqual(parseToml({ file: 't', text }).raw, value, text);
  for (const text of faulty) assert.throws(() => parseToml({ file: 't', text }), ImportError, text);
});

test('templates, and what is no configuration', () => {
  assert.throws(() => fromTraefik('tcp: { routers: {{ range . }} }'), /it is a template/);
  const { lost } = fromTraefik('tcp: { routers: { r: { rule: "HostSNI(`*`)", service: a } } }');
  assert.match(lost.join('\n'), /entryPoints: where Traefik listens is said by its static configuration/);
});

test('in service: each gets where its rule leads', async (t) => {
  const authority = await createAuthority();
  const server = await authority.issue({ dns: ['a.test', '*.b.test'] });
  const [one, two, plain] = [
    await tlsUpstream(t, server),
    await echoUpstream(t, { greeting: 'two ' }),
    await echoUpstream(t, { greeting: 'plain ' }),
  ];
  const files = { 'a.crt': server.chain, 'a.key': server.key, 'ca.crt': authority.cert };
  const imported = fromTraefik(
    'entryPoints: { db: { address: "127.0.0.1:0" } }'.replace(':0', ':1'),
    `tcp:
  routers:
    one: { rule: "HostSNI(\`a.test\`)", service: one, tls: { passthrough: true } }
    two: { rule: "HostSNIRegexp(\`^[a-z]+\\\\.b\\\\.test$\`)", service: two, tls: {} }
    x: { rule: "HostSNI(\`x.b.test\`)", priority: 1000, service: two, tls: { options: guarded } }
    rest: { rule: "HostSNI(\`*\`)", service: plain, middlewares: [near] }
  middlewares: { near: { ipAllowList: { sourceRange: ["127.0.0.1/32"] } } }
  services:
    one: { loadBalancer: { servers: [{ address: "127.0.0.1:${one.port}" }] } }
    two: { loadBalancer: { servers: [{ address: "127.0.0.1:${two.port}" }] } }
    plain: { loadBalancer: { servers: [{ address: "127.0.0.1:${plain.port}" }] } }
tls:
  certificates: [{ certFile: a.crt, keyFile: a.key }]
  options: { guarded: { clientAuth: { caFiles: [ca.crt] } } }
`,
    files,
  );
  const proxy = await serveImported(
    t,
    { ...imported, yaml: imported.yaml.replace('127.0.0.1:1', '127.0.0.1:0') },
    files,
  );
  const app = await authority.issue({ cn: 'app', usage: 'client' });
  const said = async (options: Parameters<typeof tlsTalk>[1]) => (await tlsTalk(proxy.port(), options)).text;
  assert.equal(await said({ servername: 'a.test' }), 'ping');
  assert.equal(await said({ servername: 'x.b.test' }), '');
  assert.equal(await said({ servername: 'x.b.test', credential: app }), 'two ping');
  assert.equal(await said({ servername: 'other.test' }), '');
  // What an expression means for names that nobody lists is not known.
  assert.equal(await said({ servername: 'y.b.test' }), '');
  assert.match(imported.lost.join('\n'), /HostSNIRegexp/);
  assert.equal((await exchange(proxy.port(), 'ping')).received.toString(), 'plain ping');
  assert.equal((await exchange(proxy.port(), 'ping', { localAddress: '127.0.0.2' })).received.toString(), '');
  assert.deepEqual(Object.keys(parse(imported.yaml).upstreams).sort(), ['one', 'plain', 'two']);
});
