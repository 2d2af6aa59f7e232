/**
 * An endpoint template takes its host from the client's server name: the one label that `*` stood for, or the whole name. What
 * it resolves to must be in `allow_addresses`, whatever the client asks for; anything else is refused before a connect.
 */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { echoUpstream, tlsTalk } from '../support/clients.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';

const certificates = ownCertificate('*.tenants.example');

/** Every system resolves `localhost`; the client names it as its tenant. */
async function tenants(t: TestContext, upstream: { host: string; allow: string[]; sni?: string }) {
  const own = await certificates;
  const server = await echoUpstream(t);
  const proxy = await startProxy(
    t,
    {
      ...own.sections,
      listeners: {
        in: {
          routes: [
            {
              sni: upstream.sni ?? '*.tenants.example',
              tls: { certificates: 'own' },
              upstream: 'tenants',
            },
          ],
        },
      },
      upstreams: {
        tenants: {
          endpoints: [`${upstream.host}:${server.port}`],
          allow_addresses: upstream.allow,
        },
      },
    },
    own.files,
  );
  return { proxy, server };
}

async function outcome(proxy: RunningProxy, servername: string) {
  const { text } = await tlsTalk(proxy.port(), { servername });
  const line = await proxy.connectionLine(({ sni }) => sni === servername.toLowerCase());
  return { text, code: line['code'], endpoint: line['endpoint'], error: String(line['error']) };
}

describe('the label of a tenant', () => {
  it('is its host', async (t) => {
    const { proxy, server } = await tenants(t, { host: '{sni.1}', allow: ['127.0.0.0/8'] });
    const { text, endpoint } = await outcome(proxy, 'localhost.tenants.example');
    assert.equal(text, 'ping');
    assert.equal(endpoint, `localhost:${server.port}`);
  });

  const refused: Record<string, readonly [servername: string, code: string]> = {
    'two labels': ['a.localhost.tenants.example', 'ERR_UPSTREAM_TEMPLATE'],
    'a name that does not resolve': ['nobody-of-that-name.tenants.example', 'ERR_UPSTREAM_RESOLVE'],
    'a number, which the system would take for an address': [
      '2130706433.tenants.example',
      'ERR_UPSTREAM_TEMPLATE',
    ],
    'a number in hex': ['0x7f000001.tenants.example', 'ERR_UPSTREAM_TEMPLATE'],
  };
  for (const [name, [servername, code]] of Object.entries(refused)) {
    it(`leads nowhere if it is ${name}`, async (t) => {
      const { proxy, server } = await tenants(t, { host: '{sni.1}', allow: ['127.0.0.0/8', '::1'] });
      const seen = await outcome(proxy, servername);
      assert.deepEqual([seen.text, seen.code], ['', code]);
      assert.equal(server.accepted, 0);
    });
  }

  it('leads to no address that is not allowed', async (t) => {
    const { proxy, server } = await tenants(t, { host: '{sni.1}', allow: ['10.0.0.0/8'] });
    const { text, code, error } = await outcome(proxy, 'localhost.tenants.example');
    assert.deepEqual([text, code], ['', 'ERR_UPSTREAM_ADDRESS_FORBIDDEN']);
    assert.match(error, /127\.0\.0\.1/);
    assert.equal(server.accepted, 0);
  });
});

it('the whole name may be the host, in lower case', async (t) => {
  // By RFC 6761 every name below `localhost` is this machine; systems differ in whether they know.
  const { proxy } = await tenants(t, { host: '{sni}', allow: ['10.0.0.0/8'], sni: '*.localhost' });
  const { code, error } = await outcome(proxy, 'Tenant.LOCALHOST');
  assert.ok(['ERR_UPSTREAM_ADDRESS_FORBIDDEN', 'ERR_UPSTREAM_RESOLVE'].includes(String(code)));
  assert.match(error, /tenant\.localhost/);
});
