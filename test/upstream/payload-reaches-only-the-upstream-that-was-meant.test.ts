/**
 * From a client's connection to the upstream's handshake: a certificate that is not trusted, not for the name, not pinned or
 * expired ends the attempt with its code before a byte of payload; ours is presented; sessions are resumed, and the log
 * says so; a refusal of our certificate that TLS 1.3 brings late is told as what it is.
 */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { TlsOptions } from 'node:tls';
import { type Authority, type Credential, createAuthority } from '../support/certificates.ts';
import { echoUpstream, tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { tlsUpstream } from '../support/tls-upstream.ts';

const authority = createAuthority({ name: 'Internal CA' });

async function fixture(
  t: TestContext,
  credential: Credential,
  upstream: { tls: object; server?: TlsOptions; endpoint?: string; routes?: object[] },
) {
  const ca = await authority;
  const own = await ca.issue({ dns: ['*.example'] });
  const client = await ca.issue({ cn: 'penstock', usage: 'client' });
  const server = await tlsUpstream(t, credential, upstream.server);
  const proxy = await startProxy(
    t,
    {
      certificates: {
        own: { cert: 'own.crt', key: 'own.key' },
        client: { cert: 'client.crt', key: 'client.key' },
      },
      authorities: { internal: { ca: 'ca.crt' } },
      listeners: {
        plain: { routes: [{ tls: 'off', upstream: 'app' }] },
        tls: { routes: upstream.routes ?? [{ tls: { certificates: 'own' }, upstream: 'app' }] },
      },
      upstreams: {
        app: {
          endpoints: [`${upstream.endpoint ?? '127.0.0.1'}:${server.port}`],
          tls: { authority: 'internal', ...upstream.tls },
        },
      },
    },
    {
      'own.crt': own.chain,
      'own.key': own.key,
      'client.crt': client.chain,
      'client.key': client.key,
      'ca.crt': ca.cert,
    },
  );
  return { proxy, server };
}

/** One connection of a plain client that sends a password and waits. */
async function send(t: TestContext, proxy: RunningProxy, port = proxy.port('plain')) {
  const client = rawClient(t, port);
  client.socket.write('password');
  const outcome = await Promise.race([
    client.until(8).catch(() => undefined),
    client.closed.then(() => undefined),
  ]);
  client.socket.destroy();
  return outcome?.toString();
}

type Case = {
  readonly credential: (ca: Authority) => Promise<Credential>;
  readonly tls: object;
  readonly code?: string;
};

const forDb = { dns: ['db.internal'] };
const cases: Record<string, Case> = {
  'its name and chain hold': {
    credential: (ca) => ca.issue(forDb),
    tls: { server_name: 'db.internal' },
  },
  'it is for the address that was dialled': {
    credential: (ca) => ca.issue({ ip: ['127.0.0.1'] }),
    tls: {},
  },
  'it is for another name': {
    credential: (ca) => ca.issue({ dns: ['other.internal'] }),
    tls: { server_name: 'db.internal' },
    code: 'ERR_UPSTREAM_CERT_NAME',
  },
  'it has the name as its CN alone': {
    credential: (ca) => ca.issue({ cn: 'db.internal' }),
    tls: { server_name: 'db.internal' },
    code: 'ERR_UPSTREAM_CERT_NAME',
  },
  'it is for another name, which `verify: ca` does not ask for': {
    credential: (ca) => ca.issue({ dns: ['other.internal'] }),
    tls: { server_name: 'db.internal', verify: 'ca' },
  },
  'another CA has issued it': {
    credential: async () => (await createAuthority({ name: 'Internal CA' })).issue(forDb),
    tls: { server_name: 'db.internal' },
    code: 'ERR_UPSTREAM_CERT_UNTRUSTED',
  },
  'it has expired': {
    credential: (ca) =>
      ca.issue({
        ...forDb,
        notBefore: new Date(Date.now() - 7200_000),
        notAfter: new Date(Date.now() - 3600_000),
      }),
    tls: { server_name: 'db.internal' },
    code: 'ERR_UPSTREAM_CERT_UNTRUSTED',
  },
  'it is for clients': {
    credential: (ca) => ca.issue({ ...forDb, usage: 'client' }),
    tls: { server_name: 'db.internal' },
    code: 'ERR_UPSTREAM_CERT_UNTRUSTED',
  },
  'its key is not the pinned one': {
    credential: (ca) => ca.issue(forDb),
    tls: { server_name: 'db.internal', pins: [`sha256:${Buffer.alloc(32).toString('base64')}`] },
    code: 'ERR_UPSTREAM_CERT_NOT_PINNED',
  },
};

for (const [name, { credential, tls, code }] of Object.entries(cases)) {
  it(`${code ? 'nothing is sent' : 'payload is sent'} to an upstream whose certificate is such that ${name}`, async (t) => {
    const { proxy, server } = await fixture(t, await credential(await authority), { tls });
    assert.equal(await send(t, proxy), code ? undefined : 'password');
    const line = await proxy.connectionLine();
    if (code) {
      assert.deepEqual([line['code'], line['phase'], line['side']], [code, 'connect', 'upstream']);
    }
    assert.equal(server.seen.bytes, code ? '' : 'password');
  });
}

it('an upstream that is pinned needs no CA, and another key is refused', async (t) => {
  const credential = await (await createAuthority()).issue({ dns: ['whatever.internal'] });
  const tls = { verify: 'pin', pins: [credential.pin] };
  const { proxy, server } = await fixture(t, credential, { tls });
  assert.equal(await send(t, proxy), 'password');
  server.use(await (await createAuthority()).issue({ dns: ['whatever.internal'] }));
  assert.equal(await send(t, proxy), undefined);
  await proxy.connectionLine(({ code }) => code === 'ERR_UPSTREAM_CERT_NOT_PINNED');
});

describe('mutual TLS', () => {
  const demanding = async (): Promise<TlsOptions> => ({
    requestCert: true,
    rejectUnauthorized: true,
    ca: (await authority).cert,
  });
  const forLocalhost = async () => (await authority).issue({ ip: ['127.0.0.1'] });

  it('presents the certificate that is shared by name', async (t) => {
    const { proxy, server } = await fixture(t, await forLocalhost(), {
      tls: { certificate: 'client' },
      server: await demanding(),
    });
    assert.equal(await send(t, proxy), 'password');
    assert.equal(server.seen.connections, 1);
  });

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`refused by the upstream is told as such, ${version} bringing it at its own time`, async (t) => {
      const { proxy, server } = await fixture(t, await forLocalhost(), {
        tls: {},
        server: { ...(await demanding()), minVersion: version, maxVersion: version },
      });
      const client = rawClient(t, proxy.port('plain'));
      client.socket.write('password');
      // Never a clean end.
      assert.equal((await client.closed).error, 'ECONNRESET');
      const line = await proxy.connectionLine();
      assert.deepEqual([line['code'], line['side']], ['ERR_UPSTREAM_TLS', 'upstream']);
      assert.equal(line['phase'], version === 'TLSv1.3' ? 'splice' : 'connect');
      assert.match(String(line['error']), /certificate|handshake/i);
      assert.equal(server.seen.bytes, '');
    });
  }
});

describe('what the log says of the way to the upstream', () => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`is whether its session was resumed (${version})`, async (t) => {
      const { proxy, server } = await fixture(t, await (await authority).issue({ ip: ['127.0.0.1'] }), {
        tls: {},
        server: { minVersion: version, maxVersion: version },
      });
      for (let i = 0; i < 3; i += 1) assert.equal(await send(t, proxy), 'password');
      await eventually(() => {
        const lines = proxy.log.filter(({ msg }) => msg === 'connection');
        const seen = lines.map(({ upstream_tls }) => upstream_tls as { version: string; resumed: boolean });
        assert.deepEqual(
          seen.map(({ resumed }) => resumed),
          [false, true, true],
        );
        assert.deepEqual([...new Set(seen.map((it) => it.version))], [version]);
      });
      assert.equal(server.seen.resumed, 2);
    });
  }
});

describe('the handshake with the upstream', () => {
  it('offers the protocols configured, and the name', async (t) => {
    const credential = await (await authority).issue({ dns: ['db.internal'] });
    const offered: string[] = [];
    const { proxy, server } = await fixture(t, credential, {
      tls: { server_name: 'db.internal', alpn: ['postgresql', 'other'] },
      server: {
        ALPNCallback: ({ protocols }) => {
          offered.push(...protocols);
          return 'other';
        },
      },
    });
    assert.equal(await send(t, proxy), 'password');
    assert.deepEqual(offered, ['postgresql', 'other']);
    assert.deepEqual(server.seen.names, ['db.internal']);
  });

  it('may name whom the client named, and then that name is verified', async (t) => {
    const credential = await (await authority).issue({ dns: ['one.example'] });
    const { proxy, server } = await fixture(t, credential, {
      tls: { server_name: '{sni}' },
      routes: [{ sni: '*.example', tls: { certificates: 'own' }, upstream: 'app' }],
    });
    assert.equal((await tlsTalk(proxy.port('tls'), { servername: 'one.example' })).secured, true);
    await proxy.connectionLine(({ sni, code }) => sni === 'one.example' && code === undefined);
    await tlsTalk(proxy.port('tls'), { servername: 'two.example' });
    await proxy.connectionLine(({ sni, code }) => sni === 'two.example' && code === 'ERR_UPSTREAM_CERT_NAME');
    assert.equal(server.seen.names[0], 'one.example');
    assert.equal(server.seen.bytes, 'ping');
  });

  it('with an upstream that speaks no TLS fails as such, and no payload goes there', async (t) => {
    const upstream = await echoUpstream(t);
    const proxy = await startProxy(t, {
      listeners: { plain: { routes: [{ tls: 'off', upstream: 'app' }] } },
      upstreams: { app: { endpoints: [`127.0.0.1:${upstream.port}`], tls: {} } },
    });
    assert.equal(await send(t, proxy), undefined);
    const line = await proxy.connectionLine();
    assert.equal(line['code'], 'ERR_UPSTREAM_TLS');
    assert.ok(!upstream.received.includes('password'));
  });
});
