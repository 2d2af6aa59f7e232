/**
 * Real handshakes with every kind of client certificate: each refusal has its own code, names the certificate's subject
 * and fingerprint, and what is let in is known by names that somebody vouches for.
 */
import assert from 'node:assert/strict';
import { hash, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import type { ClientAuthConfig } from '../../src/config/schema/schema.ts';
import type { ConnectionCode } from '../../src/errors.ts';
import { describeForAuthorize } from '../../src/tls/client-auth/authorize.ts';
import { createClientAuth, type Verdict } from '../../src/tls/client-auth/client-auth.ts';
import { type Credential, createAuthority, selfSigned } from '../support/certificates.ts';
import { askForCertificates } from '../support/peer-facts.ts';

const hour = 3_600_000;
const at = (hours: number): Date => new Date(Date.now() + hours * hour);

const own = await selfSigned({ dns: ['proxy.example'] });
const ca = await createAuthority({ name: 'Clients CA' });
const other = await createAuthority({ name: 'Other CA' });
const namesake = await createAuthority({ name: 'Clients CA' });
const intermediate = await createAuthority({ name: 'Clients Intermediate', parent: ca });
const good = await ca.issue({ cn: 'orders-app', ou: 'payments', dns: ['a.orders.example.com'] });

function authority(...cas: readonly Credential[]) {
  return { certificates: cas.map(({ cert }) => new X509Certificate(cert)), crl: [] as string[] };
}

const byAuthority: ClientAuthConfig = { mode: 'require', authority: 'clients' };

function refusal(verdict: Verdict, code: ConnectionCode): Extract<Verdict, { ok: false }> {
  assert.ok(!verdict.ok, 'was let in');
  assert.equal(verdict.error.code, code, verdict.error.message);
  return verdict;
}

test('a client of the authority is let in, and known by its names', async (t) => {
  const server = await askForCertificates(t, own, { ca: [ca.cert] });
  const auth = createClientAuth(byAuthority, authority(ca));
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const { facts } = await server.connect({ credential: good, version });
    const verdict = auth.verify(facts, Date.now());
    assert.ok(verdict.ok);
    const fingerprint = hash('sha256', new X509Certificate(good.cert).raw, 'hex');
    assert.equal(verdict.cert?.subject, 'CN=orders-app,OU=payments');
    assert.deepEqual(verdict.cert?.sans, ['DNS:a.orders.example.com']);
    assert.equal(verdict.cert?.fingerprint, fingerprint);
    assert.equal(verdict.cert?.spki, good.pin);
    assert.equal(verdict.cert?.verifiedBy, 'authority');
    assert.deepEqual(verdict.cert?.names?.cn, ['orders-app']);
  }
});

test('each kind of bad certificate is refused with its own code, by subject and fingerprint', async (t) => {
  const revoked = await ca.issue({ cn: 'revoked' });
  const crl = await ca.crl([revoked.serial]);
  const cases: [ConnectionCode, Credential, RegExp, crl?: string][] = [
    [
      'ERR_CLIENT_CERT_UNTRUSTED',
      await other.issue({ cn: 'x' }),
      /CN=Other CA, which does not lead to.*"clients"/,
    ],
    ['ERR_CLIENT_CERT_UNTRUSTED', await namesake.issue({ cn: 'x' }), /does not verify against CN=Clients CA/],
    [
      'ERR_CLIENT_CERT_UNTRUSTED',
      await selfSigned({ cn: 'x' }),
      /self-signed, and not in authority "clients"/,
    ],
    [
      'ERR_CLIENT_CERT_UNTRUSTED',
      { ...(await intermediate.issue({ cn: 'x' })), chain: '' },
      /CN=Clients Inter/,
    ],
    [
      'ERR_CLIENT_CERT_EXPIRED',
      await ca.issue({ cn: 'x', notBefore: at(-2), notAfter: at(-1) }),
      /expired at 20/,
    ],
    ['ERR_CLIENT_CERT_NOT_YET_VALID', await ca.issue({ cn: 'x', notBefore: at(1) }), /not valid before 20/],
    ['ERR_CLIENT_CERT_PURPOSE', await ca.issue({ cn: 'x', usage: 'server' }), /is not for clients/],
    ['ERR_CLIENT_CERT_REVOKED', revoked, /is on a CRL of authority "clients"/, crl],
    ['ERR_CRL_EXPIRED', good, /past its nextUpdate/, await ca.crl([], { nextUpdate: at(-0.01) })],
    ['ERR_CLIENT_CERT_UNTRUSTED', good, /no usable CRL for CN=Clients CA/, await other.crl([])],
  ];
  for (const [code, credential, message, list] of cases) {
    const server = await askForCertificates(t, own, { ca: [ca.cert], ...(list ? { crl: [list] } : {}) });
    const auth = createClientAuth(byAuthority, { ...authority(ca), crl: list ? [list] : [] });
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const { facts } = await server.connect({ credential, version });
      const { error, cert } = refusal(auth.verify(facts, Date.now()), code);
      const leaf = new X509Certificate(credential.cert);
      const fingerprint = leaf.fingerprint256.replaceAll(':', '').toLowerCase();
      assert.match(error.message, message);
      assert.ok(error.message.includes(fingerprint), error.message);
      assert.ok(error.message.includes(leaf.subject.split('\n').reverse().join(',')), error.message);
      assert.ok(error.hint);
      assert.deepEqual(cert, auth.describe(leaf));
      assert.equal(cert?.fingerprint, fingerprint);
      assert.equal(cert?.verifiedBy, undefined);
      assert.equal(cert?.names, undefined);
    }
  }
});

test('extended key usage: none at all is good, one that is not for clients is refused, pinned or not', async (t) => {
  const server = await askForCertificates(t, own, { ca: [ca.cert] });
  for (const [usage, lets] of [
    ['none', true],
    ['client', true],
    ['both', true],
    ['server', false],
    ['code_signing', false],
  ] as const) {
    const issued = await ca.issue({ cn: 'x', usage });
    const pinned = await selfSigned({ cn: 'x', usage });
    const auths = [
      [issued, createClientAuth(byAuthority, authority(ca))],
      [pinned, createClientAuth({ mode: 'require', pins: [pinned.pin] }, undefined)],
    ] as const;
    for (const [credential, auth] of auths) {
      const verdict = auth.verify((await server.connect({ credential })).facts, Date.now());
      if (lets) assert.ok(verdict.ok, usage);
      else refusal(verdict, 'ERR_CLIENT_CERT_PURPOSE');
    }
  }
});

test('without a certificate: required is refused, requested is let in unless there are rules', async (t) => {
  const server = await askForCertificates(t, own, { ca: [ca.cert] });
  const { facts } = await server.connect();
  const judge = (config: ClientAuthConfig) =>
    createClientAuth(config, config.pins ? undefined : authority(ca)).verify(facts, Date.now());
  const allow = [{ cn: 'orders-app' }];
  refusal(judge(byAuthority), 'ERR_CLIENT_CERT_REQUIRED');
  refusal(judge({ mode: 'require', pins: [good.pin] }), 'ERR_CLIENT_CERT_REQUIRED');
  refusal(judge({ ...byAuthority, mode: 'request', allow }), 'ERR_CLIENT_CERT_REQUIRED');
  assert.deepEqual(judge({ ...byAuthority, mode: 'request' }), { ok: true, cert: undefined });
  assert.deepEqual(judge({ mode: 'request', pins: [good.pin] }), { ok: true, cert: undefined });
});

test('requested is not optional to get right: an invalid or unpinned certificate is refused', async (t) => {
  const server = await askForCertificates(t, own, { ca: [ca.cert] });
  const { facts } = await server.connect({ credential: await other.issue({ cn: 'x' }) });
  const requested = createClientAuth({ ...byAuthority, mode: 'request' }, authority(ca));
  refusal(requested.verify(facts, Date.now()), 'ERR_CLIENT_CERT_UNTRUSTED');
  const pinned = createClientAuth({ mode: 'request', pins: [good.pin] }, undefined);
  refusal(pinned.verify(facts, Date.now()), 'ERR_CLIENT_CERT_NOT_PINNED');
});

test('a pinned key is let in whoever signed it, and nobody believes its names', async (t) => {
  const server = await askForCertificates(t, own, { ca: [ca.cert] });
  const mine = await selfSigned({ cn: 'admin', uri: ['spiffe://example.com/admin'] });
  const auth = createClientAuth({ mode: 'require', pins: [mine.pin] }, undefined);
  const verdict = auth.verify((await server.connect({ credential: mine })).facts, Date.now());
  assert.ok(verdict.ok);
  assert.deepEqual(Object.keys(verdict.cert ?? {}).sort(), ['der', 'fingerprint', 'spki', 'verifiedBy']);
  assert.equal(verdict.cert?.verifiedBy, 'pin');
  // A certificate of the authority is no more than any other here.
  const { error } = refusal(
    auth.verify((await server.connect({ credential: good })).facts, Date.now()),
    'ERR_CLIENT_CERT_NOT_PINNED',
  );
  assert.ok(error.message.includes(good.pin));
});

test('authorize is told the names that an authority vouches for, and none of a pinned certificate', async (t) => {
  const server = await askForCertificates(t, own, { ca: [ca.cert] });
  const { facts } = await server.connect({ credential: good });
  const fingerprint = hash('sha256', new X509Certificate(good.cert).raw, 'hex');
  const told = (config: ClientAuthConfig) => {
    const { cert } = createClientAuth(config, config.pins ? undefined : authority(ca)).verify(
      facts,
      Date.now(),
    );
    assert.ok(cert);
    const { pem, ...rest } = describeForAuthorize(cert);
    assert.deepEqual(new X509Certificate(pem).raw, new X509Certificate(good.cert).raw);
    assert.equal(pem, new X509Certificate(good.cert).toString());
    return rest;
  };
  assert.deepEqual(told(byAuthority), {
    fingerprint,
    spki: good.pin,
    verifiedBy: 'authority',
    subject: 'CN=orders-app,OU=payments',
    cn: ['orders-app'],
    ou: ['payments'],
    uris: [],
    dns: ['a.orders.example.com'],
    emails: [],
  });
  const pinned = { fingerprint, spki: good.pin, verifiedBy: 'pin' };
  assert.deepEqual(told({ mode: 'require', pins: [good.pin] }), pinned);
});

test('a pinned certificate has its dates', async (t) => {
  const server = await askForCertificates(t, own, { ca: [ca.cert] });
  const mine = await selfSigned({ cn: 'x', notBefore: at(-1), notAfter: at(1) });
  const auth = createClientAuth({ mode: 'require', pins: [mine.pin] }, undefined);
  const { facts } = await server.connect({ credential: mine });
  assert.ok(auth.verify(facts, Date.now()).ok);
  refusal(auth.verify(facts, at(1.1).getTime()), 'ERR_CLIENT_CERT_EXPIRED');
  refusal(auth.verify(facts, at(-1.1).getTime()), 'ERR_CLIENT_CERT_NOT_YET_VALID');
});

test('allow: who matches no entry is refused, and told by which names', async (t) => {
  const server = await askForCertificates(t, own, { ca: [ca.cert] });
  const auth = createClientAuth(
    { ...byAuthority, allow: [{ cn: 'orders-app', ou: 'payments' }] },
    authority(ca),
  );
  assert.ok(auth.verify((await server.connect({ credential: good })).facts, Date.now()).ok);
  const credential = await ca.issue({ cn: 'orders-app', ou: 'sales', dns: ['b.example'] });
  const { error } = refusal(
    auth.verify((await server.connect({ credential })).facts, Date.now()),
    'ERR_CLIENT_CERT_NOT_ALLOWED',
  );
  assert.match(error.hint ?? '', /CN=orders-app,OU=sales, DNS:b\.example/);
});
