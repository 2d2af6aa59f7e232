/**
 * Clients are told the names of the CAs that a route trusts. TLS has room for 64 KiB of them, Java for 32: `check` says so
 * before anybody fails to connect, and with `send_ca_names: false` nobody is told any. Who is let in stays the same: whoever
 * an authority's CA vouches for, and nobody whom this process trusts by default.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import tls from 'node:tls';
import { createAuthority, selfSigned } from '../support/certificates.ts';
import { load } from '../support/configuration.ts';
import { rawClient } from '../support/raw-client.ts';
import { serverCredential, startTerminating, visit } from '../support/terminating.ts';
import { tls13Client } from '../support/tls13-client.ts';

const can = typeof tls.setDefaultCACertificates === 'function';
const skip = can ? false : 'this Node has no setDefaultCACertificates';

/** Names of about 1,000 bytes each. */
async function manyAuthorities(count: number) {
  return Promise.all(
    Array.from({ length: count }, (_, index) => createAuthority({ name: `${index} ${'x'.repeat(980)}` })),
  );
}

const many = await manyAuthorities(70);
const [last] = many.slice(-1);
assert.ok(last);
const pem = (authorities: readonly { cert: string }[]) => authorities.map(({ cert }) => cert).join('\n');

async function findings(t: Parameters<typeof load>[0], count: number, more = ''): Promise<string[]> {
  const text = `certificates: { own: { cert: own.crt, key: own.key } }
authorities: { many: { ca: many.crt } }
listeners:
  a:
    bind: ":1"
    routes: [{ tls: { certificates: own, client_auth: { authority: many${more} } }, upstream: u }]
upstreams: { u: { endpoints: ["h:1"] } }
`;
  const files = {
    'own.crt': serverCredential.cert,
    'own.key': serverCredential.key,
    'many.crt': pem(many.slice(0, count)),
  };
  const { faults, warnings } = await load(t, text, { files });
  return [...faults, ...warnings];
}

test('check: 30 KB are fine, 40 KB too much for Java, 70 KB for everybody', async (t) => {
  assert.deepEqual(await findings(t, 30), []);
  const [warning] = await findings(t, 40);
  assert.match(
    warning ?? '',
    /client_auth\.authority: the names of the 40 CAs of "many" take 4\d{4} bytes: .*Java/,
  );
  const [fault] = await findings(t, 70);
  assert.match(
    fault ?? '',
    /take 7\d{4} bytes, and TLS has room for 65535: no one could connect; write `send_ca/,
  );
});

test('check: with send_ca_names: false there is no limit, where Node can do it', async (t) => {
  const [fault] = await findings(t, 70, ', send_ca_names: false');
  if (can) assert.equal(fault, undefined);
  else assert.match(fault ?? '', /needs Node 22\.19, 24\.5 or later/);
});

const scene = {
  authorities: { many: { ca: pem(many) }, few: { ca: pem(many.slice(-1)), crl: await last.crl([]) } },
  listeners: {
    many: [{ tls: { client_auth: { authority: 'many', send_ca_names: false } } }],
    request: [{ tls: { client_auth: { mode: 'request', authority: 'many', send_ca_names: false } } }],
    unnamed: [{ tls: { client_auth: { authority: 'few', send_ca_names: false } } }],
    named: [{ tls: { client_auth: { authority: 'few' } } }],
  },
};

test('whom the authority vouches for is let in, full and resumed', { skip }, async (t) => {
  const proxy = await startTerminating(t, scene);
  const credential = await last.issue({ cn: 'somebody' });
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    for (const listener of ['many', 'request', 'unnamed', 'named']) {
      const first = await visit(proxy, proxy.port(listener), { credential, version });
      assert.deepEqual([first.talk.text, first.talk.error], ['ping', undefined], listener);
      const again = await visit(proxy, proxy.port(listener), {
        credential,
        version,
        session: first.talk.session,
      });
      assert.deepEqual([again.talk.text, again.talk.resumed], ['ping', true], listener);
      assert.equal((again.line['client_cert'] as { subject: string }).subject, 'CN=somebody');
    }
  }
});

test('nobody else is, not even whom this process trusts by default, with a CRL or without', {
  skip,
}, async (t) => {
  const trusted = await createAuthority({ name: 'Trusted by default' });
  const before = tls.getCACertificates('default');
  tls.setDefaultCACertificates([...before, trusted.cert]);
  t.after(() => tls.setDefaultCACertificates(before));
  const proxy = await startTerminating(t, scene);
  const namesake = await createAuthority({ name: `69 ${'x'.repeat(980)}` });
  for (const credential of [
    await trusted.issue({ cn: 'x' }),
    await namesake.issue({ cn: 'x' }),
    await selfSigned({ cn: 'x' }),
  ]) {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      for (const listener of ['many', 'request', 'unnamed']) {
        const { talk, line } = await visit(proxy, proxy.port(listener), { credential, version });
        assert.deepEqual([talk.text, line['code']], ['', 'ERR_CLIENT_CERT_UNTRUSTED'], listener);
      }
    }
  }
  assert.equal(proxy.upstream.accepted, 0);
  assert.deepEqual(new Set(tls.getCACertificates('default')), new Set([...before, trusted.cert]));
});

test('the request for a certificate has the names, or no such extension', { skip }, async (t) => {
  const proxy = await startTerminating(t, scene);
  const asked = async (listener: string): Promise<Buffer> => {
    const client = await tls13Client(rawClient(t, proxy.port(listener), { allowHalfOpen: false }), {});
    return client.certificateRequest ?? Buffer.alloc(0);
  };
  const [named, unnamed] = [await asked('named'), await asked('unnamed')];
  assert.ok(named.includes('xxxx'));
  assert.ok(!unnamed.includes('xxxx'));
  // Four bytes of the extension's head and four of its lengths are gone, not just its content (RFC 8446 §4.2.4: at least one).
  assert.ok(named.length - unnamed.length > 980 + 8);
  const extensions = unnamed.readUInt16BE(5);
  assert.equal(extensions, unnamed.length - 7);
});
