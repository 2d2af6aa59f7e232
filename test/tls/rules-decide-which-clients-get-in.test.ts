/** `allow`: of the clients of one authority, those get in that some entry names, with all its parts; in real handshakes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAuthority } from '../support/certificates.ts';
import { startTerminating, visit } from '../support/terminating.ts';

const ca = await createAuthority();
const byKey = await ca.issue({ cn: 'by-key' });

const rules = {
  uri: [{ uri: 'spiffe://example.com/orders/*' }],
  dns: [{ dns: '*.orders.example.com' }],
  subject: [{ cn: 'orders-app', ou: 'payments' }],
  email: [{ email: 'ops@example.com' }],
  spki: [{ spki: byKey.pin }],
  either: [{ cn: 'orders-app', dns: 'a.example.com' }, { email: 'ops@example.com' }],
  web: [{ uri: 'https://example.com/orders' }],
};

const table: [rule: keyof typeof rules, names: Parameters<typeof ca.issue>[0], isLetIn: boolean][] = [
  ['uri', { uri: ['spiffe://example.com/orders/app'] }, true],
  ['uri', { uri: ['spiffe://example.com/orders/app/deeper'] }, false],
  ['uri', { uri: ['spiffe://example.org/orders/app'] }, false],
  // With two there is no telling which is its identity.
  ['uri', { uri: ['spiffe://example.com/orders/app', 'spiffe://example.com/billing/app'] }, false],
  ['uri', { uri: ['spiffe://example.com/orders/app', 'https://example.com/'] }, false],
  ['uri', { cn: 'spiffe://example.com/orders/app' }, false],
  ['uri', { dns: ['spiffe://example.com/orders/app'] }, false],
  ['web', { uri: ['https://example.org/', 'https://example.com/orders'] }, true],
  ['dns', { dns: ['b.example.com', 'a.orders.example.com'] }, true],
  ['dns', { dns: ['A.Orders.Example.COM'] }, true],
  ['dns', { dns: ['a.b.orders.example.com'] }, false],
  ['dns', { dns: ['orders.example.com'] }, false],
  ['dns', { cn: 'a.orders.example.com' }, false],
  ['dns', { cn: 'x, DNS:a.orders.example.com', dns: ['b.example.com, DNS:a.orders.example.com'] }, false],
  ['subject', { cn: 'orders-app', ou: 'payments' }, true],
  ['subject', { cn: 'orders-app', ou: ['staff', 'payments'] }, true],
  ['subject', { cn: 'orders-app' }, false],
  ['subject', { cn: 'orders-app', ou: 'Payments' }, false],
  ['subject', { cn: 'other', ou: 'payments' }, false],
  ['subject', { o: 'OU=payments, CN=orders-app', cn: 'orders-app\nOU=payments' }, false],
  ['email', { email: ['me@example.com', 'ops@example.com'] }, true],
  ['email', { email: ['xops@example.com'] }, false],
  ['email', { cn: 'ops@example.com' }, false],
  ['either', { email: ['ops@example.com'] }, true],
  ['either', { cn: 'orders-app', dns: ['a.example.com'] }, true],
  ['either', { cn: 'orders-app', dns: ['b.example.com'] }, false],
  ['spki', { cn: 'by-key' }, false],
];

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: whom rules name is let in, nobody else`, async (t) => {
    const proxy = await startTerminating(t, {
      listeners: {
        one: Object.entries(rules).map(([name, allow]) => ({
          sni: `${name}.example`,
          tls: { client_auth: { authority: 'clients', allow } },
        })),
      },
      authorities: { clients: { ca: ca.cert } },
    });
    const enter = async (rule: string, credential: typeof byKey, isLetIn: boolean, what: string) => {
      const { talk, line } = await visit(proxy, proxy.port(), {
        servername: `${rule}.example`,
        credential,
        version,
      });
      assert.equal(line['code'], isLetIn ? undefined : 'ERR_CLIENT_CERT_NOT_ALLOWED', what);
      assert.equal(talk.text, isLetIn ? 'ping' : '', what);
    };
    for (const [rule, names, isLetIn] of table) {
      await enter(rule, await ca.issue(names), isLetIn, `${rule} ${JSON.stringify(names)}`);
    }
    await enter('spki', byKey, true, 'by its key');
    assert.equal(proxy.upstream.accepted, table.filter(([, , isLetIn]) => isLetIn).length + 1);
  });
}

test('the log has the names that a refused client would need an entry for', async (t) => {
  const proxy = await startTerminating(t, {
    listeners: { one: [{ tls: { client_auth: { authority: 'clients', allow: rules.dns } } }] },
    authorities: { clients: { ca: ca.cert } },
  });
  const credential = await ca.issue({ cn: 'app', dns: ['a.example.com'] });
  const { line } = await visit(proxy, proxy.port(), { credential });
  assert.match(String(line['hint']), /CN=app.*a\.example\.com/);
  assert.deepEqual((line['client_cert'] as { sans: string[] }).sans, ['DNS:a.example.com']);
});
