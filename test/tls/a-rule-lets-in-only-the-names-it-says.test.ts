/**
 * The `allow` rules: what each pattern matches, and the near misses that it must not. Then in real handshakes: a client of the
 * authority gets in if some entry names it with all its parts, and otherwise it does not.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ClientRule } from '../../src/config/schema/schema.ts';
import { compileRules } from '../../src/tls/client-auth/client-rules.ts';
import { readCertificate } from '../../src/x509/certificate-names.ts';
import { alternativeNames, certificateDer, cn, ou } from '../support/certificate-der.ts';
import { createAuthority } from '../support/certificates.ts';
import { startTerminating, visit } from '../support/terminating.ts';

type Names = { uri?: string[]; dns?: string[]; email?: string[]; cn?: string[]; ou?: string[] };

function matches(rules: ClientRule[], names: Names, spki = 'sha256:none'): boolean {
  const subject = [
    ...(names.ou ?? []).map((value) => ({ oid: ou, value })),
    ...(names.cn ?? []).map((value) => ({ oid: cn, value })),
  ];
  const sans = alternativeNames([
    ...(names.uri ?? []).map((value) => [0x86, value] as const),
    ...(names.dns ?? []).map((value) => [0x82, value] as const),
    ...(names.email ?? []).map((value) => [0x81, value] as const),
  ]);
  const read = readCertificate(certificateDer({ subject, extensions: [sans] }));
  assert.ok(read);
  return compileRules(rules)(read, spki);
}

test('uri', () => {
  const table: [pattern: string, good: string[], bad: string[]][] = [
    [
      'spiffe://example.com/orders/*',
      ['spiffe://example.com/orders/a', 'spiffe://example.com/orders/a:b@c'],
      [
        'spiffe://example.com/orders',
        'spiffe://example.com/orders/',
        'spiffe://example.com/orders/a/b',
        'spiffe://example.com/orders/a/',
        'spiffe://example.com/ordersx/a',
        'spiffe://example.com.evil/orders/a',
        'spiffe://evil/spiffe://example.com/orders/a',
        'spiffe://example.com/orders/..',
        'spiffe://example.com/orders/.',
        'spiffe://example.com/orders/%2e%2E',
        'spiffe://example.com/orders/a%2Fb',
        'spiffe://example.com/orders/a\\b',
        'spiffe://example.com/orders/a?b',
        'spiffe://example.com/orders/a#b',
        'https://example.com/orders/a',
        'SPIFFE://example.com/orders/a',
        'spiffe://EXAMPLE.com/orders/a',
      ],
    ],
    [
      'spiffe://example.com/orders/**',
      ['spiffe://example.com/orders/a', 'spiffe://example.com/orders/a/b/c'],
      [
        'spiffe://example.com/orders',
        'spiffe://example.com/orders/',
        'spiffe://example.com/orders/a/',
        'spiffe://example.com/orders//a',
        'spiffe://example.com/orders/a/../../admin',
        'spiffe://example.com/orders/a/%2E%2e/b',
        'spiffe://example.com/orders/a?b/c',
        'spiffe://example.com/payments/a',
      ],
    ],
    [
      'spiffe://example.com/ns/*/sa/app-*-eu',
      ['spiffe://example.com/ns/prod/sa/app-1-eu', 'spiffe://example.com/ns/x/sa/app-a-eu-eu'],
      [
        'spiffe://example.com/ns//sa/app-1-eu',
        'spiffe://example.com/ns/a/b/sa/app-1-eu',
        'spiffe://example.com/ns/prod/sa/app-eu',
        'spiffe://example.com/ns/prod/sa/app-1-us',
      ],
    ],
    [
      'spiffe://*.example.com/a',
      ['spiffe://x.example.com/a', 'spiffe://x.y.example.com/a'],
      [
        'spiffe://example.com/a',
        'spiffe://evil/.example.com/a',
        'spiffe://evil:1@x.example.com/a',
        'spiffe://evil?x.example.com/a',
        'spiffe://evil#.example.com/a',
      ],
    ],
    ['spiffe://**', [], ['spiffe://example.com/a']],
    ['spiffe://**/a', ['spiffe://x/a'], ['spiffe://x/y/a']],
    ['*://example.com/a', [], ['spiffe://example.com/a', 'https://example.com/a']],
    ['urn:uuid:*', ['urn:uuid:123', 'urn:uuid:'], ['urn:oid:1', 'urn:uuid:1/2']],
    [
      'https://example.com/a?b',
      ['https://example.com/a?b'],
      ['https://example.com/a', 'https://example.com/aXb'],
    ],
    ['spiffe://example.com/a.c', ['spiffe://example.com/a.c'], ['spiffe://example.com/abc']],
    ['*', ['urn:x'], ['https://x']],
  ];
  for (const [pattern, good, bad] of table) {
    for (const uri of good) assert.ok(matches([{ uri: pattern }], { uri: [uri] }), `${pattern} ${uri}`);
    for (const uri of bad) assert.ok(!matches([{ uri: pattern }], { uri: [uri] }), `${pattern} ${uri}`);
  }
});

test('a certificate with several URIs has no SPIFFE ID', () => {
  const [a, b, web] = ['spiffe://example.com/a', 'spiffe://example.com/b', 'https://example.com/a'];
  assert.ok(matches([{ uri: a }], { uri: [a] }));
  assert.ok(!matches([{ uri: a }], { uri: [a, b] }));
  assert.ok(!matches([{ uri: a }], { uri: [a, a] }));
  assert.ok(!matches([{ uri: 'spiffe://example.com/**' }], { uri: [web, a] }));
  assert.ok(matches([{ uri: web }], { uri: [a, web] }));
  // One that cannot be used still counts.
  assert.ok(!matches([{ uri: a }], { uri: [a, 'spiffe://example.com/\0'] }));
});

test('dns', () => {
  const table: [pattern: string, good: string[], bad: string[]][] = [
    [
      'a.example',
      ['a.example', 'A.Example'],
      ['b.example', 'a.example.', 'a.example.evil', 'x.a.example', 'a-example'],
    ],
    [
      '*.orders.example',
      ['a.orders.example', 'A.ORDERS.example'],
      ['orders.example', '.orders.example', 'a.b.orders.example', 'aorders.example', 'a.orders.example.evil'],
    ],
    ['a.*.example', ['a.b.example'], ['a.example', 'a.b.c.example', 'a..example']],
    ['a*.example', ['a*.example'], ['ab.example', 'a.example']],
    ['*', ['host'], ['host.example']],
  ];
  for (const [pattern, good, bad] of table) {
    for (const dns of good) assert.ok(matches([{ dns: pattern }], { dns: ['x', dns] }), `${pattern} ${dns}`);
    for (const dns of bad) assert.ok(!matches([{ dns: pattern }], { dns: [dns] }), `${pattern} ${dns}`);
  }
});

test('cn, ou and email are whole values', () => {
  const whole: [ClientRule, Names, boolean][] = [
    [{ cn: 'orders-app' }, { cn: ['orders-app'] }, true],
    [{ cn: 'orders-app' }, { cn: ['Orders-app'] }, false],
    [{ cn: 'orders-app' }, { cn: ['orders-app,OU=x'] }, false],
    [{ cn: 'orders-app' }, { cn: ['x,CN=orders-app'] }, false],
    [{ cn: 'orders-app' }, { cn: ['orders-app\0'] }, false],
    [{ cn: 'orders-*' }, { cn: ['orders-app'] }, false],
    [{ cn: 'orders-app' }, { ou: ['orders-app'] }, false],
    [{ cn: 'orders-app' }, { dns: ['orders-app'] }, false],
    // The most specific one: the last.
    [{ cn: 'orders-app' }, { cn: ['Users', 'orders-app'] }, true],
    [{ cn: 'Users' }, { cn: ['Users', 'orders-app'] }, false],
    [{ cn: 'orders-app' }, { cn: ['orders-app', '\0'] }, false],
    [{ ou: 'eu' }, { ou: ['payments', 'eu'] }, true],
    [{ ou: 'eu' }, { ou: ['payments,eu'] }, false],
    [{ email: 'a@example.com' }, { email: ['a@example.com'] }, true],
    [{ email: 'a@example.com' }, { email: ['A@example.com'] }, false],
    [{ email: '*@example.com' }, { email: ['a@example.com'] }, false],
  ];
  for (const [rule, names, expected] of whole) {
    assert.equal(matches([rule], names), expected, JSON.stringify([rule, names]));
  }
});

test('within an entry all must hold, and one entry is enough', () => {
  const both = { cn: 'orders-app', ou: 'payments' };
  assert.ok(matches([both], { cn: ['orders-app'], ou: ['payments'] }));
  assert.ok(!matches([both], { cn: ['orders-app'], ou: ['sales'] }));
  assert.ok(!matches([both], { cn: ['other'], ou: ['payments'] }));
  assert.ok(matches([both, { dns: 'a.example' }], { dns: ['a.example'] }));
  assert.ok(!matches([both, { dns: 'a.example' }], {}));
  assert.ok(matches([{ spki: 'sha256:a' }], {}, 'sha256:a'));
  assert.ok(!matches([{ spki: 'sha256:a', cn: 'x' }], {}, 'sha256:a'));
  assert.ok(!matches([{ spki: 'sha256:a' }], {}, 'sha256:b'));
});

test('a wildcard never stands for a slash, wherever it is', () => {
  const text = fc.stringMatching(/^[a-z.*]{0,6}$/);
  fc.assert(
    fc.property(
      fc.array(text, { minLength: 1, maxLength: 4 }),
      fc.array(text, { minLength: 1, maxLength: 4 }),
      (p, u) => {
        const pattern = `spiffe://h/${p.join('/')}`;
        const uri = `spiffe://h/${u.join('/')}`;
        if (pattern.endsWith('/**') || !matches([{ uri: pattern }], { uri: [uri] })) return;
        assert.equal(pattern.split('/').length, uri.split('/').length);
      },
    ),
  );
});

const ca = await createAuthority();
const byKey = await ca.issue({ cn: 'by-key' });

const served = {
  uri: [{ uri: 'spiffe://example.com/orders/*' }],
  dns: [{ dns: '*.orders.example.com' }],
  subject: [{ cn: 'orders-app', ou: 'payments' }],
  email: [{ email: 'ops@example.com' }],
  spki: [{ spki: byKey.pin }],
  either: [{ cn: 'orders-app', dns: 'a.example.com' }, { email: 'ops@example.com' }],
  web: [{ uri: 'https://example.com/orders' }],
};

const clients: [rule: keyof typeof served, names: Parameters<typeof ca.issue>[0], isLetIn: boolean][] = [
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
        one: Object.entries(served).map(([name, allow]) => ({
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
    for (const [rule, names, isLetIn] of clients) {
      await enter(rule, await ca.issue(names), isLetIn, `${rule} ${JSON.stringify(names)}`);
    }
    await enter('spki', byKey, true, 'by its key');
    assert.equal(proxy.upstream.accepted, clients.filter(([, , isLetIn]) => isLetIn).length + 1);
  });
}

test('the log has the names that a refused client would need an entry for', async (t) => {
  const proxy = await startTerminating(t, {
    listeners: { one: [{ tls: { client_auth: { authority: 'clients', allow: served.dns } } }] },
    authorities: { clients: { ca: ca.cert } },
  });
  const credential = await ca.issue({ cn: 'app', dns: ['a.example.com'] });
  const { line } = await visit(proxy, proxy.port(), { credential });
  assert.match(String(line['hint']), /CN=app.*a\.example\.com/);
  assert.deepEqual((line['client_cert'] as { sans: string[] }).sans, ['DNS:a.example.com']);
});
