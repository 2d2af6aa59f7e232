/**
 * Proves that what `import apisix` makes of stream routes, upstreams and certificates serves clients as APISIX would: routed by
 * name, address and port, certificates demanded where a name's `ssl` has a client CA, the upstream's TLS as it was.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { configSchema } from '../../../src/config/schema/schema.ts';
import { buildRouter } from '../../../src/decide/router.ts';
import { type Authority, type Credential, createAuthority } from '../../support/certificates.ts';
import { type EchoUpstream, echoUpstream, tlsTalk } from '../../support/clients.ts';
import { fromApisix, serveImported } from '../../support/imported.ts';
import { exchange, type RunningProxy } from '../../support/proxy.ts';
import { tlsUpstream } from '../../support/tls-upstream.ts';

type World = {
  readonly proxy: RunningProxy;
  readonly authority: Authority;
  readonly client: Credential;
  readonly stranger: Credential;
  readonly orders: EchoUpstream;
};

const settings = {
  apisix: {
    proxy_mode: 'http&stream',
    stream_proxy: { tcp: [{ addr: '127.0.0.1:0', tls: true }, '127.0.0.2:0'] },
  },
};

async function world(t: TestContext): Promise<World> {
  const [authority, foreign] = [await createAuthority({ name: 'Clients' }), await createAuthority()];
  const [orders, tenants] = [
    await echoUpstream(t, { greeting: 'orders ' }),
    await echoUpstream(t, { greeting: 'tenants ' }),
  ];
  const ssl = await authority.issue({ dns: ['orders.example'] });
  const wildcard = await authority.issue({ dns: ['*.tenants.example'] });
  const imported = fromApisix(
    {
      ssls: [
        { id: 1, snis: ['orders.example'], cert: ssl.chain, key: ssl.key, client: { ca: authority.cert } },
        { id: 2, sni: '*.tenants.example', cert: wildcard.chain, key: wildcard.key },
      ],
      stream_routes: [
        { id: 1, sni: 'orders.example', upstream_id: 7 },
        {
          id: 2,
          sni: 'closed.tenants.example',
          remote_addr: '127.0.0.0/8',
          upstream_id: 7,
          plugins: { 'ip-restriction': { whitelist: ['10.0.0.0/8'] } },
        },
        { id: 3, sni: 'far.tenants.example', remote_addr: '10.0.0.0/8', upstream_id: 7 },
        { id: 4, upstream: { nodes: { [`127.0.0.1:${tenants.port}`]: 1 } } },
      ],
      upstreams: [{ id: 7, nodes: [{ host: '127.0.0.1', port: orders.port, weight: 1 }] }],
    },
    settings,
  );
  assert.deepEqual(imported.lost, []);
  return {
    proxy: await serveImported(t, imported),
    authority,
    client: await authority.issue({ cn: 'app', usage: 'client' }),
    stranger: await foreign.issue({ cn: 'stranger', usage: 'client' }),
    orders,
  };
}

test('certificates are demanded where the name has a client CA, and nowhere else', async (t) => {
  const { proxy, authority, client, stranger, orders } = await world(t);
  const port = proxy.port('stream-127.0.0.1-0');
  const talk = (servername: string, credential?: Credential) =>
    tlsTalk(port, { servername, ca: authority.cert, credential });
  const welcome = await talk('orders.example', client);
  assert.deepEqual([welcome.authorized, welcome.text], [true, 'orders ping']);
  assert.equal((await talk('orders.example')).text, '');
  assert.equal((await talk('orders.example', stranger)).text, '');
  assert.equal(orders.accepted, 1, 'whom the certificate does not let in reaches no upstream');
  const tenant = await talk('a.tenants.example');
  assert.deepEqual([tenant.authorized, tenant.text], [true, 'tenants ping']);
});

test('routes are found as APISIX finds them', async (t) => {
  const { proxy, authority } = await world(t);
  const port = proxy.port('stream-127.0.0.1-0');
  const talk = (servername?: string) =>
    tlsTalk(port, { ...(servername && { servername }), ca: authority.cert });
  // The addresses do not fit: on to the route without a name.
  assert.equal((await talk('far.tenants.example')).text, 'tenants ping');
  // The route is found, and its plugin refuses.
  assert.equal((await talk('closed.tenants.example')).text, '');
  // No certificate, or no name: APISIX breaks the handshake off.
  assert.equal((await talk('unknown.example')).error, 'ALERT 112');
  assert.equal((await talk()).error, 'ALERT 112');
  const plain = await exchange(proxy.port('stream-127.0.0.2-0'), 'hello', { host: '127.0.0.2' });
  assert.equal(plain.received.toString(), 'tenants hello');
});

test('an upstream with TLS is told the name of the client, and shown the certificate', async (t) => {
  const authority = await createAuthority();
  const server = await authority.issue({ dns: ['db.example'] });
  const client = await authority.issue({ cn: 'proxy', usage: 'client' });
  const upstream = await tlsUpstream(t, server, {
    requestCert: true,
    rejectUnauthorized: true,
    ca: authority.cert,
  });
  const nodes = { [`127.0.0.1:${upstream.port}`]: 1 };
  const imported = fromApisix(
    {
      ssls: [
        { id: 'own', sni: 'db.example', cert: server.chain, key: server.key },
        { id: 'up', type: 'client', cert: client.chain, key: client.key },
      ],
      stream_routes: [
        { sni: 'db.example', upstream: { scheme: 'tls', tls: { client_cert_id: 'up' }, nodes } },
      ],
    },
    settings,
  );
  assert.match(imported.looks.join('\n'), /verifies no certificate of this upstream, so `verify: none`/);
  const proxy = await serveImported(t, imported);
  const talk = await tlsTalk(proxy.port('stream-127.0.0.1-0'), {
    servername: 'db.example',
    ca: authority.cert,
  });
  assert.equal(talk.text, 'ping');
  assert.deepEqual(upstream.seen.names, ['db.example']);
});

test('a wildcard is one label: deeper names are refused, whatever else would take them', async () => {
  const { chain: cert, key } = await (await createAuthority()).issue({ dns: ['*.tenants.example'] });
  const ssls = ['*.tenants.example', '*.example', '*'].map((sni, id) => ({ id, sni, cert, key }));
  const upstream = { nodes: { '127.0.0.1:1': 1 } };
  const { config, looks } = fromApisix({ ssls, stream_routes: [{ upstream }] }, settings);
  const { listeners } = configSchema.parse(config);
  const { routes } = listeners['stream-127.0.0.1-0'] ?? { routes: [] };
  const taken = (sni?: string) => {
    const match = buildRouter(routes).match({ sni, alpn: [], client: '192.0.2.1', ja4: '', plain: false });
    const route = match && routes[match.index];
    return typeof route?.tls === 'object' ? route.tls.certificates[0] : 'refused';
  };
  assert.equal(taken('a.tenants.example'), 'wildcard.tenants.example');
  assert.equal(taken('b.a.tenants.example'), 'refused');
  assert.equal(taken('a.example'), 'wildcard.example');
  assert.equal(taken('b.a.example'), 'refused');
  assert.equal(taken('elsewhere.test'), 'wildcard');
  assert.equal(taken(), 'refused');
  assert.deepEqual(looks, []);
});

test('clients that ask for no name are refused, whatever `*` takes, or are those of fallback_sni', async (t) => {
  const authority = await createAuthority();
  const own = await authority.issue({ dns: ['orders.example'] });
  const other = await authority.issue({ dns: ['any.example'] });
  const client = await authority.issue({ cn: 'app', usage: 'client' });
  const upstream = await tlsUpstream(t, await authority.issue({ dns: ['db.example'] }));
  const rest = await echoUpstream(t, { greeting: 'rest ' });
  const objects = {
    ssls: [
      { id: 1, sni: '*', cert: other.chain, key: other.key },
      {
        ...{ id: 2, sni: 'orders.example', cert: own.chain, key: own.key },
        client: { ca: authority.cert },
      },
    ],
    stream_routes: [
      {
        sni: 'orders.example',
        upstream: { scheme: 'tls', nodes: { [`127.0.0.1:${upstream.port}`]: 1 } },
      },
      { upstream: { nodes: { [`127.0.0.1:${rest.port}`]: 1 } } },
    ],
  };
  const serve = async (fallback_sni?: unknown) => {
    const { stream_proxy } = settings.apisix;
    const imported = fromApisix(objects, { apisix: { stream_proxy, ssl: { fallback_sni } } });
    const proxy = await serveImported(t, imported);
    const talk = (servername?: string, credential?: Credential) =>
      tlsTalk(proxy.port('stream-127.0.0.1-0'), { servername, ca: authority.cert, credential });
    assert.equal((await talk('any.example')).text, 'rest ping');
    assert.equal((await talk('orders.example')).text, '');
    return { talk, lost: imported.lost };
  };
  const without = await serve();
  assert.equal((await without.talk()).error, 'ALERT 112');
  assert.equal((await without.talk(undefined, client)).error, 'ALERT 112');
  assert.equal(upstream.seen.names.length, 0);

  const { talk, lost } = await serve('Orders.example.');
  assert.deepEqual(lost, []);
  assert.equal((await talk()).text, '', 'its certificate is demanded of them, too');
  const welcome = await talk(undefined, client);
  assert.deepEqual([welcome.peerNames, welcome.text], ['DNS:orders.example', 'ping']);
  assert.equal((await talk('orders.example', client)).text, 'ping');
  assert.deepEqual(upstream.seen.names, ['orders.example', 'orders.example']);

  const covered = await serve('elsewhere.example');
  assert.equal((await covered.talk()).text, 'rest ping');

  // Whoever names itself there is passed on by that name.
  const [{ upstream: toTls }] = objects.stream_routes as [{ upstream: object }, ...object[]];
  const { stream_proxy } = settings.apisix;
  const all = fromApisix(
    { ...objects, stream_routes: [{ upstream: toTls }] },
    { apisix: { stream_proxy, ssl: { fallback_sni: 'elsewhere.example' } } },
  );
  const proxy = await serveImported(t, all);
  for (const servername of [undefined, 'any.example']) {
    const { text } = await tlsTalk(proxy.port('stream-127.0.0.1-0'), { servername, ca: authority.cert });
    assert.equal(text, 'ping');
  }
  assert.deepEqual(upstream.seen.names.slice(-2), ['elsewhere.example', 'any.example']);

  for (const odd of ['*.example', ['a.example'], `$${'{{NAME}}'}`]) {
    const refusing = await serve(odd);
    assert.match(
      refusing.lost.join('\n'),
      /ssl\.fallback_sni: penstock does not accept it as a name; .* no name are refused/,
    );
    assert.equal((await refusing.talk()).error, 'ALERT 112');
  }
});

test('`*` in a list takes no name with a dot', async (t) => {
  const authority = await createAuthority();
  const { chain: cert, key } = await authority.issue({ dns: ['a.example'] });
  const echo = await echoUpstream(t);
  const stream_routes = [{ upstream: { nodes: { [`127.0.0.1:${echo.port}`]: 1 } } }];
  const all = { id: 1, sni: '*', cert, key };
  for (const ssls of [[], [all]]) {
    const list = { id: 2, snis: ['a.example', '*'], cert, key };
    const imported = fromApisix({ ssls: [...ssls, list], stream_routes }, settings);
    assert.match(imported.lost.join('\n'), /snis\[1\]: in a list APISIX finds `\*` for no name with a dot/);
    const proxy = await serveImported(t, imported);
    const talk = (servername: string) =>
      tlsTalk(proxy.port('stream-127.0.0.1-0'), { servername, ca: authority.cert });
    assert.equal((await talk('a.example')).text, 'ping');
    assert.equal((await talk('b.example')).error, 'ALERT 112');
  }
});
