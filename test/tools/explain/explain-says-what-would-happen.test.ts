/**
 * `penstock explain` says what a running penstock does: for real clients its route, code, certificate, protocol,
 * endpoint and upstream name are those of the connection; each route that is not taken has its reason; and the text fits
 * a terminal.
 */
import assert from 'node:assert/strict';
import { before, type TestContext, test } from 'node:test';
import type { LoadedConfig } from '../../../src/config/load.ts';
import { loadConfig } from '../../../src/config/sources/file.ts';
import { type AssumedClient, anyClient } from '../../../src/tools/client/assumed-client.ts';
import { createExplainer, type Explanation } from '../../../src/tools/explain/explanation.ts';
import { formatExplanation } from '../../../src/tools/explain/text.ts';
import { type Authority, type Credential, createAuthority } from '../../support/certificates.ts';
import { type ClientOptions, tlsTalk } from '../../support/clients.ts';
import { load } from '../../support/configuration.ts';
import { exchange, type LogLine, startProxy } from '../../support/proxy.ts';
import { tlsUpstream } from '../../support/tls-upstream.ts';
import { tcpUpstream } from '../../support/upstream.ts';

let ca: Authority;
let files: Record<string, string>;
let internal: Credential;
before(async () => {
  ca = await createAuthority();
  const orders = await ca.issue({ cn: 'orders', dns: ['orders.example'] });
  const wild = await ca.issue({ dns: ['*.example'] });
  internal = await ca.issue({ dns: ['orders.internal'] });
  files = {
    'orders.crt': orders.cert,
    'orders.key': orders.key,
    'wild.crt': wild.cert,
    'wild.key': wild.key,
    'ca.crt': ca.cert,
    'ca.crl': await ca.crl([]),
  };
});

const certificates = {
  orders: { cert: 'orders.crt', key: 'orders.key' },
  wild: { cert: 'wild.crt', key: 'wild.key' },
};

async function explainTo(
  loaded: LoadedConfig,
  listener: string,
  client: Partial<AssumedClient>,
): Promise<Explanation> {
  const explainer = createExplainer(loaded);
  const explanation = await explainer.explain(listener, { ...anyClient, ...client });
  await explainer.close();
  return explanation;
}

/** A proxy before a TLS upstream and two plain ones, and its configuration. */
async function startAll(t: TestContext) {
  const tls = await tlsUpstream(t, internal);
  const plain = await Promise.all([1, 2].map(() => tcpUpstream(t, (socket) => socket.end('hello'))));
  const terminate = { certificates: ['orders', 'wild'], alpn: ['postgresql', 'other'] };
  const proxy = await startProxy(
    t,
    {
      certificates,
      authorities: { ca: { ca: 'ca.crt' } },
      listeners: {
        mixed: {
          routes: [
            {
              name: 'orders',
              sni: 'orders.example',
              alpn: 'postgresql',
              tls: terminate,
              upstream: 'secured',
            },
            { name: 'wild', sni: '*.example', tls: terminate, upstream: 'named' },
            { name: 'deep', sni: '*.deep.example', tls: terminate, upstream: 'template' },
            { name: 'old', sni: 'old.example', deny: true },
            { name: 'local', from: '127.0.0.1', tls: terminate, upstream: 'hashed' },
            { name: 'plain', tls: 'off', upstream: 'hashed' },
          ],
        },
        walled: { deny: '127.0.0.0/8', routes: [{ tls: terminate, upstream: 'hashed' }] },
        unread: { routes: [{ tls: 'off', upstream: 'hashed' }] },
        tlsOnly: { routes: [{ name: 'never', deny: true }] },
      },
      upstreams: {
        secured: {
          endpoints: [`127.0.0.1:${tls.port}`],
          tls: { authority: 'ca', server_name: 'Orders.internal.' },
        },
        // Its name is sent and then found wrong: the certificate is for orders.internal.
        named: { endpoints: [`127.0.0.1:${tls.port}`], tls: { authority: 'ca', server_name: '{sni}' } },
        hashed: { endpoints: plain.map(({ port }) => `127.0.0.1:${port}`), balance: 'hash' },
        template: { endpoints: ['{sni.1}.invalid:1'], allow_addresses: '10.0.0.0/8' },
      },
    },
    files,
  );
  return { tls, proxy, loaded: await loadConfig(`${proxy.directory}/penstock.yaml`) };
}

/** What a connection was, as far as it can be explained beforehand. */
function factsOf(line: LogLine): Record<string, unknown> {
  const { route, code, upstream, endpoint, alpn } = line;
  return { route, code, upstream, endpoint, alpn };
}

function factsIn({ taken, code, upstream, tls }: Explanation): Record<string, unknown> {
  const isReached = code === null;
  return {
    route: taken ? (taken.route === String(taken.index) ? taken.index : taken.route) : undefined,
    code: code ?? undefined,
    upstream: code === 'ERR_TLS_ALPN_MISMATCH' ? undefined : upstream?.name,
    endpoint: isReached ? upstream?.endpoints[0]?.endpoint : undefined,
    alpn: code === 'ERR_TLS_ALPN_MISMATCH' ? undefined : (tls?.alpn.agreed ?? undefined),
  };
}

test('what it says of TLS clients is what happens to them', async (t) => {
  const { tls, proxy, loaded } = await startAll(t);
  const clients: [listener: string, sni: string | undefined, alpn: string[]][] = [
    ['mixed', 'orders.example', ['other', 'postgresql']],
    ['mixed', 'orders.example', ['other']],
    ['mixed', 'billing.example', []],
    ['mixed', 'billing.example', ['unknown']],
    ['mixed', 'a.deep.example', []],
    ['mixed', 'a.b.deep.example', []],
    ['mixed', 'old.example', []],
    ['mixed', 'elsewhere.test', []],
    ['mixed', undefined, []],
    ['walled', 'orders.example', []],
    ['tlsOnly', 'orders.example', []],
  ];
  for (const [index, [listener, sni, alpn]] of clients.entries()) {
    const explanation = await explainTo(loaded, listener, { sni, alpn, address: '127.0.0.1' });
    const options: ClientOptions = {
      ...(sni !== undefined && { servername: sni }),
      ...(alpn.length > 0 && { ALPNProtocols: alpn }),
    };
    const talk = await tlsTalk(proxy.port(listener), options);
    await proxy.connectionLine(() => proxy.log.filter(({ msg }) => msg === 'connection').length > index);
    const line = proxy.log.filter(({ msg }) => msg === 'connection')[index];
    assert.ok(line);
    const facts = factsOf(line);
    if (explanation.taken?.route === 'wild' && explanation.code === null) {
      // Whether names are right nobody knows before the upstream shows its certificate.
      assert.equal(facts['code'], 'ERR_UPSTREAM_CERT_NAME');
      facts['code'] = undefined;
    }
    if (explanation.taken?.route === 'deep' && explanation.code === null) {
      assert.equal(facts['code'], 'ERR_UPSTREAM_RESOLVE');
      facts['code'] = undefined;
    }
    assert.deepEqual(facts, factsIn(explanation), `${sni} ${alpn}`);
    if (!talk.secured) continue;
    const [pair] = explanation.tls?.certificate.pairs ?? [];
    assert.equal(talk.peerNames, pair?.sans);
  }
  const served = await explainTo(loaded, 'mixed', { sni: 'orders.example', alpn: ['postgresql'] });
  assert.deepEqual(
    // The upstream's handshake is over when its certificate is refused for the other name.
    tls.seen.names.filter((name) => name !== 'billing.example'),
    served.upstream?.endpoints.map(({ sni }) => sni),
    'the name that the upstream was asked for',
  );
});

test('what it says of plain clients is what happens to them', async (t) => {
  const { proxy, loaded } = await startAll(t);
  for (const [listener, code, route] of [
    ['mixed', null, 'plain'],
    ['unread', null, '0'],
    ['tlsOnly', 'ERR_NOT_TLS', undefined],
    ['walled', 'ERR_ADDRESS_DENIED', undefined],
  ] as const) {
    const explanation = await explainTo(loaded, listener, { plain: true, address: '127.0.0.1' });
    assert.equal(explanation.code, code);
    assert.equal(explanation.taken?.route, route);
    await exchange(proxy.port(listener), 'PING\r\n');
    const line = await proxy.connectionLine((it) => it['listener'] === listener);
    assert.deepEqual(factsOf(line), factsIn(explanation), listener);
  }
  const tlsClient = await explainTo(loaded, 'unread', { sni: 'orders.example' });
  assert.equal(tlsClient.unread, true);
  assert.equal(tlsClient.taken?.route, '0', 'nothing is peeked at where all routes are for plain clients');
});

const databases = `certificates:
  orders: { cert: orders.crt, key: orders.key }
  wild: { cert: wild.crt, key: wild.key }
authorities: { clients: { ca: ca.crt, crl: ca.crl } }
listeners:
  databases:
    bind: 127.0.0.1:5432
    starttls: postgres
    accept_proxy_protocol: { from: 172.16.0.1 }
    allow: [10.0.0.0/8, 192.168.0.0/16]
    deny: 10.6.6.0/24
    routes:
      - name: orders
        sni: orders.example
        alpn: postgresql
        from: 10.1.0.0/16
        ja4: t13d*
        tls:
          certificates: [wild, orders]
          client_auth: { authority: clients, allow: [{ dns: "*.apps.example" }, { cn: app, ou: payments }] }
        upstream: orders
      - { sni: orders.example, from: 10.0.0.0/8, deny: true }
      - { sni: "*.example", tls: passthrough, upstream: tenants }
      - { sni: [a.test, b.test, c.test, d.test], deny: true }
      - { tls: { certificates: orders, client_auth: { mode: request, pins: ["sha256:${'A'.repeat(43)}="] } }, upstream: orders }
      - { tls: off, from: 10.9.0.0/16, upstream: cache }
upstreams:
  orders:
    endpoints: [{ address: "10.0.9.9:5432", priority: 1 }, "10.0.1.5:5432", { address: "db.internal:5432", weight: 2 }]
    tls: { starttls: postgres, authority: clients, certificate: orders, alpn: postgresql }
    send_proxy_protocol: { version: v2, tlvs: [authority, alpn, ssl] }
    retries: 1
  tenants: { endpoints: ["{sni.1}.tenants.svc:5432"], allow_addresses: 10.0.0.0/8, send_proxy_protocol: { version: v2, tlvs: [authority, ssl] } }
  cache: { endpoints: [unix:/run/cache.sock], tls: { server_name: cache.internal, verify: ca, authority: clients } }
`;

async function loadDatabases(t: TestContext): Promise<LoadedConfig> {
  const { loaded, faults } = await load(t, databases, { files });
  assert.deepEqual(faults, []);
  return loaded as LoadedConfig;
}

const fits = {
  sni: 'orders.example',
  alpn: ['h2', 'postgresql'],
  address: '10.1.2.3',
  ja4: 't13d1516h2_8daaf6152771_e5627efa2ab1',
};

test('each route that is not taken has its reason', async (t) => {
  const loaded = await loadDatabases(t);
  const reasons = async (client: Partial<AssumedClient>) => {
    const { routes } = await explainTo(loaded, 'databases', { ...fits, ...client });
    return routes.map(({ route, failed, why }) => `${route}: ${failed} ${why}`);
  };
  const others = [
    '2: specificity its *.example is less specific than route orders',
    '4: specificity being for any name it is less specific than route orders',
    '3: sni the client asks for orders.example, the route is for a.test, b.test, c.test and 1 more',
    '5: tls the client speaks TLS, the route is for plain clients',
  ];
  assert.deepEqual(await reasons({}), [
    'orders: null null',
    '1: order route orders comes before it',
    ...others,
  ]);
  assert.deepEqual(await reasons({ alpn: ['h2'] }), [
    'orders: alpn the client offers h2, the route is for postgresql',
    '1: null null',
    ...others,
  ]);
  const first = async (client: Partial<AssumedClient>) => (await reasons(client))[0];
  assert.equal(
    await first({ alpn: [] }),
    'orders: alpn the client offers no protocol, the route is for postgresql',
  );
  assert.equal(
    await first({ address: '10.2.2.3' }),
    'orders: from the client is 10.2.2.3, the route is for 10.1.0.0/16',
  );
  assert.equal(
    await first({ address: undefined }),
    'orders: from the client has an unknown address (--from), the route is for 10.1.0.0/16',
  );
  assert.equal(
    await first({ ja4: undefined }),
    'orders: ja4 the client has an unknown fingerprint (--ja4), the route is for t13d*',
  );
  assert.equal(await first({ sni: undefined, plain: false }), '4: null null');
  assert.ok(
    (await reasons({ sni: undefined })).includes(
      'orders: sni the client asks for no name, the route is for orders.example',
    ),
  );
  const plain = await reasons({ plain: true, sni: undefined, alpn: [], ja4: undefined });
  assert.ok(plain.includes('5: from the client is 10.1.2.3, the route is for 10.9.0.0/16'), plain.join('\n'));
  assert.ok(plain.includes('4: tls the client speaks no TLS, the route is for clients that do'));
});

test('`*` is for any name, and said to be', async (t) => {
  const { loaded } = await load(
    t,
    `listeners:
  db:
    bind: ":1"
    routes:
      - { name: any, sni: "*", from: 10.0.0.0/8, tls: passthrough, upstream: up }
      - { name: below, sni: "*.example", tls: passthrough, upstream: up }
      - { name: rest, deny: true }
upstreams: { up: { endpoints: ["{sni}:1"], allow_addresses: 10.0.0.0/8 } }
`,
  );
  const explain = async (client: Partial<AssumedClient>) => {
    const explanation = await explainTo(loaded as LoadedConfig, 'db', { address: '10.1.2.3', ...client });
    const routes = explanation.routes.map(({ route, why }) => `${route}: ${why}`);
    return { routes, taken: explanation.taken, endpoint: explanation.upstream?.endpoints[0]?.endpoint };
  };
  assert.deepEqual(await explain({ sni: 'a.test' }), {
    routes: [
      'any: null',
      'rest: being for any name it is less specific than route any',
      'below: the client asks for a.test, the route is for *.example',
    ],
    taken: { route: 'any', index: 0, action: 'passthrough', wildcard: null },
    endpoint: 'a.test:1',
  });
  assert.equal(
    (await explain({ sni: 'a.example' })).routes[1],
    'any: its * is less specific than route below',
  );
  assert.equal((await explain({ sni: 'a.test', address: '192.0.2.1' })).taken, null, 'no way back');
  const nameless = await explain({ sni: undefined });
  assert.equal(nameless.taken?.route, 'rest');
  assert.ok(nameless.routes.includes('any: the client asks for no name, the route is for *'));
});

test('admission: let in, refused, or not to be known without an address', async (t) => {
  const loaded = await loadDatabases(t);
  const admission = (address: string | undefined) => explainTo(loaded, 'databases', { ...fits, address });
  for (const [address, admitted, why] of [
    ['10.1.2.3', true, '10.1.2.3 is in `allow` (10.0.0.0/8)'],
    ['10.6.6.1', false, '10.6.6.1 is in `deny` (10.6.6.0/24)'],
    ['192.0.2.1', false, '192.0.2.1 is not in `allow` (10.0.0.0/8, 192.168.0.0/16)'],
    ['unix', false, 'unix is not in `allow` (10.0.0.0/8, 192.168.0.0/16)'],
    [
      undefined,
      null,
      'it depends on its address (--from); allow: 10.0.0.0/8, 192.168.0.0/16; deny: 10.6.6.0/24',
    ],
  ] as const) {
    assert.deepEqual((await admission(address)).admission, { admitted, why });
  }
  const refused = await admission('10.6.6.1');
  assert.deepEqual([refused.taken, refused.code, refused.routes], [null, 'ERR_ADDRESS_DENIED', []]);
  assert.deepEqual(refused.proxy_header_from, ['172.16.0.1']);
});

test('what the client sees, and what is demanded of it', async (t) => {
  const loaded = await loadDatabases(t);
  const { tls, taken } = await explainTo(loaded, 'databases', fits);
  assert.equal(taken?.action, 'terminate');
  assert.equal(tls?.certificate.name, 'orders', 'the one with the exact name, though another comes first');
  const [pair] = tls?.certificate.pairs ?? [];
  assert.equal(pair?.sans, 'DNS:orders.example');
  assert.equal(pair?.is_for_name, true);
  assert.ok(Number(pair?.days_left) > 0);
  assert.deepEqual(tls?.alpn, { spoken: ['postgresql'], agreed: 'postgresql', fails: false });
  assert.deepEqual(tls?.client_auth, {
    mode: 'require',
    authority: 'clients',
    crl: true,
    pins: null,
    allow: [{ dns: '*.apps.example' }, { cn: 'app', ou: 'payments' }],
    authorize: null,
    admitted: null,
  });
  const misnamed = await explainTo(loaded, 'databases', { sni: 'other.test', alpn: [] });
  assert.equal(misnamed.tls?.certificate.pairs[0]?.is_for_name, false);
  assert.match(formatExplanation(misnamed), /it is not for other\.test/);
});

test('what is ready before the client comes, and why no more is', async (t) => {
  const text = `listeners: { in: { bind: ":1", routes: [{ tls: off, upstream: app }] } }
upstreams: { app: { endpoints: ["h:1"], warm: { connections: 3, max_age: 20s }, EXTRA } }
`;
  const readyWith = async (extra: string) => {
    const { loaded, faults } = await load(t, text.replace('EXTRA', extra));
    assert.ok(loaded, faults.join('\n'));
    const explained = await explainTo(loaded, 'in', {});
    return { warm: explained.upstream?.warm, text: formatExplanation(explained) };
  };
  const common = { connections: 3, max_age_ms: 20_000 };
  const withTls = await readyWith('tls: {}');
  assert.deepEqual(withTls.warm, { ...common, until: 'tls', because: null });
  assert.match(withTls.text, /each worker keeps 3 connections with TLS to each ready/);
  const reasons = {
    retries: [/the upstream has no TLS/, 'retries: 1'],
    header: [/PROXY header/, 'tls: {}, send_proxy_protocol: v2'],
    name: [/server_name/, 'tls: { server_name: "{sni}" }'],
  } as const;
  for (const [why, extra] of Object.values(reasons)) {
    const { warm, text } = await readyWith(extra);
    assert.equal(warm?.until, 'tcp');
    assert.match(warm?.because ?? '', why);
    // By the client's name there is nothing for a client without one.
    if (why.source !== 'server_name') assert.match(text, /each worker keeps 3 TCP connections to each ready/);
  }
});

test('what the upstream sees', async (t) => {
  const loaded = await loadDatabases(t);
  const { upstream: orders } = await explainTo(loaded, 'databases', fits);
  assert.deepEqual(
    orders?.endpoints.map(({ endpoint, priority, server_name, sni }) => [
      endpoint,
      priority,
      server_name,
      sni,
    ]),
    [
      ['10.0.1.5:5432', 0, '10.0.1.5', null],
      ['db.internal:5432', 0, 'db.internal', 'db.internal'],
      ['10.0.9.9:5432', 1, '10.0.9.9', null],
    ],
    'by priority; an address is verified, but not sent',
  );
  assert.deepEqual([orders?.order_is_exact, orders?.attempts, orders?.starttls], [false, 2, 'postgres']);
  assert.deepEqual(orders?.tls?.certificate, { name: 'orders', subject: 'orders' });
  assert.deepEqual(orders?.proxy_header?.tlvs, [
    { tlv: 'authority', value: 'orders.example', sent: true },
    { tlv: 'alpn', value: 'postgresql', sent: true },
    { tlv: 'ssl', value: null, sent: true },
  ]);
  const tenants = await explainTo(loaded, 'databases', { ...fits, sni: 'a.example' });
  assert.equal(tenants.taken?.wildcard, 'a');
  assert.equal(tenants.upstream?.endpoints[0]?.endpoint, 'a.tenants.svc:5432');
  assert.equal(
    tenants.upstream?.starttls,
    'postgres',
    'a client that is passed through is announced as its own',
  );
  assert.deepEqual(
    tenants.upstream?.proxy_header?.tlvs.map(({ sent }) => sent),
    [true, false],
    'of TLS that is passed through nothing is known',
  );
  const deep = await explainTo(loaded, 'databases', { ...fits, sni: 'a.b.example' });
  assert.equal(deep.code, 'ERR_UPSTREAM_TEMPLATE');
  assert.equal(deep.upstream?.endpoints[0]?.error?.code, 'ERR_UPSTREAM_TEMPLATE');
});

test('the text fits a terminal and names what is decided', async (t) => {
  const loaded = await loadDatabases(t);
  const clients: [Partial<AssumedClient>, RegExp[]][] = [
    [
      fits,
      [
        /^A TLS client for orders\.example from 10\.1\.2\.3, offering h2, postgresql, at listener databases: route orders takes it, TLS ends here, and if its certificate is accepted its bytes go to upstream orders\./,
        / Routes route orders: taken /,
        /must present a certificate, which must be issued by authority clients and not revoked and have dns \*\.apps\.example; or cn app and ou payments/,
        /10\.0\.9\.9:5432, priority 1/,
        /our certificate orders \(orders\)/,
        /the PROXY header that peers in 172\.16\.0\.1 must send/,
      ],
    ],
    [{ ...fits, address: '10.6.6.1' }, [/it is not let in \(ERR_ADDRESS_DENIED\)/]],
    [
      { ...fits, address: undefined },
      [/: if it is let in, no route takes it \(ERR_NO_ROUTE\)/, /less specific names are not tried/],
    ],
    [
      { ...fits, sni: 'a.example' },
      [/route 2 passes its TLS through to upstream tenants/, /the client's own TLS$/],
    ],
    [{ ...fits, sni: 'a.test' }, [/route 3 denies it \(ERR_ROUTE_DENIED\); it gets the alert access_denied/]],
    [
      { sni: undefined, alpn: [] },
      [/may come without a certificate; one that it presents must have a pinned key \(1 pin\)/],
    ],
    [{ alpn: ['h2'] }, [/the handshake fails \(ERR_TLS_ALPN_MISMATCH\)/]],
    [
      { plain: true, address: '10.9.1.1' },
      [
        /^A client without TLS .* route 5 takes it, its bytes go to upstream cache/,
        /its name does not count/,
      ],
    ],
  ];
  for (const [client, expected] of clients) {
    const text = formatExplanation(await explainTo(loaded, 'databases', client));
    assert.deepEqual(
      text.split('\n').filter((line) => line.length > 80),
      [],
    );
    const flowing = text.replace(/\s+/g, ' ').trim();
    for (const pattern of expected) assert.match(flowing, pattern);
  }
});

test('thousands of other names do not flood the terminal', async (t) => {
  const routes = Array.from(
    { length: 500 },
    (_, index) => `      - { sni: n${index}.example, deny: true }\n`,
  );
  const { loaded } = await load(t, `listeners:\n  many:\n    bind: ":1"\n    routes:\n${routes.join('')}`);
  const explanation = await explainTo(loaded as LoadedConfig, 'many', { sni: 'n400.example' });
  assert.equal(explanation.routes.length, 500);
  const text = formatExplanation(explanation);
  assert.match(text, /route 400: taken/);
  assert.match(text, /and 489 more that are for other names/);
  assert.ok(text.split('\n').length < 40);
});
