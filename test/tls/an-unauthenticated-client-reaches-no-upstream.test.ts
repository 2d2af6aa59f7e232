/**
 * A client that does not authenticate causes not one dial and not one byte, whatever is wrong with it and however early
 * it speaks; the log says what was wrong and with which certificate. TLS 1.2 and 1.3.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { type Credential, createAuthority, selfSigned } from '../support/certificates.ts';
import type { LogLine } from '../support/proxy.ts';
import { type Scene, startTerminating, visit } from '../support/terminating.ts';

const hour = 3_600_000;
const fromNow = (hours: number): Date => new Date(Date.now() + hours * hour);

const ca = await createAuthority({ name: 'Clients' });
const namesake = await createAuthority({ name: 'Clients' });
const oldCa = await createAuthority({ name: 'Old', notBefore: fromNow(-3), notAfter: fromNow(-1) });
const unlisted = await createAuthority({ name: 'Unlisted' });
const good = await ca.issue({ cn: 'good', dns: ['good.example'], usage: 'client' });
const revoked = await ca.issue({ cn: 'revoked' });
const pinned = await selfSigned({ cn: 'pinned' });

const auth = (clientAuth: object) => ({ client_auth: { authority: 'clients', ...clientAuth } });
const scene: Scene = {
  listeners: {
    one: [
      { sni: 'pki.example', tls: auth({}) },
      { sni: 'crl.example', tls: auth({ authority: 'crl' }) },
      { sni: 'partial.example', tls: auth({ authority: 'partial' }) },
      { sni: 'stale.example', tls: auth({ authority: 'stale' }) },
      { sni: 'old.example', tls: auth({ authority: 'old' }) },
      { sni: 'rules.example', tls: auth({ allow: [{ cn: 'other' }, { dns: '*.other.example' }] }) },
      { sni: 'asked.example', tls: auth({ mode: 'request' }) },
      { sni: 'asked-rules.example', tls: auth({ mode: 'request', allow: [{ cn: 'good' }] }) },
      { sni: 'pins.example', tls: { client_auth: { pins: [pinned.pin] } } },
      { sni: 'asked-pins.example', tls: { client_auth: { mode: 'request', pins: [pinned.pin] } } },
      { sni: 'denies.example', tls: auth({ authorize: './denies.mjs' }) },
    ],
  },
  authorities: {
    clients: { ca: ca.cert },
    crl: { ca: ca.cert, crl: await ca.crl([revoked.serial]) },
    partial: { ca: ca.cert + unlisted.cert, crl: await ca.crl([]) },
    stale: { ca: ca.cert, crl: await ca.crl([], { thisUpdate: fromNow(-2), nextUpdate: fromNow(-1) }) },
    old: { ca: oldCa.cert },
  },
  files: { 'denies.mjs': 'export default () => ({ deny: "not today" });' },
};

type Case = [what: string, sni: string, credential: Credential | undefined, code: string];

const cases: Case[] = [
  ['no certificate', 'pki', undefined, 'ERR_CLIENT_CERT_REQUIRED'],
  ['no certificate, of several CAs', 'crl', undefined, 'ERR_CLIENT_CERT_REQUIRED'],
  ['no certificate, pins', 'pins', undefined, 'ERR_CLIENT_CERT_REQUIRED'],
  ['no certificate, rules, request', 'asked-rules', undefined, 'ERR_CLIENT_CERT_REQUIRED'],
  ['no certificate, a check', 'denies', undefined, 'ERR_CLIENT_CERT_REQUIRED'],
  ['another CA', 'pki', await unlisted.issue({ cn: 'x' }), 'ERR_CLIENT_CERT_UNTRUSTED'],
  ['a CA of the same name', 'pki', await namesake.issue({ cn: 'good' }), 'ERR_CLIENT_CERT_UNTRUSTED'],
  ['another CA, request', 'asked', await unlisted.issue({ cn: 'x' }), 'ERR_CLIENT_CERT_UNTRUSTED'],
  ['self-signed', 'pki', await selfSigned({ cn: 'good' }), 'ERR_CLIENT_CERT_UNTRUSTED'],
  ['self-signed, request', 'asked', await selfSigned({ cn: 'good' }), 'ERR_CLIENT_CERT_UNTRUSTED'],
  [
    'expired',
    'pki',
    await ca.issue({ cn: 'x', notBefore: fromNow(-2), notAfter: fromNow(-1) }),
    'ERR_CLIENT_CERT_EXPIRED',
  ],
  [
    'expired, request',
    'asked',
    await ca.issue({ cn: 'x', notBefore: fromNow(-2), notAfter: fromNow(-1) }),
    'ERR_CLIENT_CERT_EXPIRED',
  ],
  ['an expired CA', 'old', await oldCa.issue({ cn: 'x' }), 'ERR_CLIENT_CERT_EXPIRED'],
  [
    'not yet valid',
    'pki',
    await ca.issue({ cn: 'x', notBefore: fromNow(1) }),
    'ERR_CLIENT_CERT_NOT_YET_VALID',
  ],
  ['revoked', 'crl', revoked, 'ERR_CLIENT_CERT_REVOKED'],
  ['a CA without a CRL', 'partial', await unlisted.issue({ cn: 'x' }), 'ERR_CLIENT_CERT_UNTRUSTED'],
  ['a stale CRL', 'stale', good, 'ERR_CRL_EXPIRED'],
  ['for servers only', 'pki', await ca.issue({ cn: 'x', usage: 'server' }), 'ERR_CLIENT_CERT_PURPOSE'],
  ['to sign code', 'pki', await ca.issue({ cn: 'x', usage: 'code_signing' }), 'ERR_CLIENT_CERT_PURPOSE'],
  ['not pinned', 'pins', await selfSigned({ cn: 'pinned' }), 'ERR_CLIENT_CERT_NOT_PINNED'],
  ['not pinned, of a CA', 'pins', good, 'ERR_CLIENT_CERT_NOT_PINNED'],
  ['not pinned, request', 'asked-pins', good, 'ERR_CLIENT_CERT_NOT_PINNED'],
  ['not allowed', 'rules', good, 'ERR_CLIENT_CERT_NOT_ALLOWED'],
  ['denied by a check', 'denies', good, 'ERR_AUTHORIZE_DENIED'],
];

const early = 'early words';

/** How a client that presents nothing learns of it: certificate_required, which TLS 1.2 has not, or handshake_failure. */
const alerts = { 'TLSv1.3': 'ALERT 116', 'TLSv1.2': 'ALERT 40' } as const;

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: refused, told, and kept from the upstream`, async (t) => {
    const proxy = await startTerminating(t, scene);
    for (const [what, sni, credential, code] of cases) {
      const { talk, line } = await visit(
        proxy,
        proxy.port(),
        { servername: `${sni}.example`, credential, version },
        early,
      );
      assert.equal(line['code'], code, what);
      assert.equal(talk.text, '', what);
      assert.equal(line['upstream'], undefined, what);
      assert.equal(line['bytes_in'], 0, what);
      if (credential) assertTold(line, credential, what);
      else if (!sni.startsWith('asked')) assert.equal(talk.error, alerts[version], what);
    }
    // Connections are accepted in order: one that was dialled for any of them would have been counted before this.
    const { talk } = await visit(
      proxy,
      proxy.port(),
      { servername: 'pki.example', credential: good, version },
      early,
    );
    assert.equal(talk.text, early);
    assert.deepEqual({ ...proxy.upstream, port: 0 }, { port: 0, accepted: 1, received: early });
  });

  test(`${version}: with request, a client without a certificate is let in, and has no name`, async (t) => {
    const proxy = await startTerminating(t, scene);
    for (const servername of ['asked.example', 'asked-pins.example']) {
      const { talk, line } = await visit(proxy, proxy.port(), { servername, version }, early);
      assert.equal(talk.text, early);
      assert.equal(line['code'], undefined);
      assert.equal(line['client_cert'], undefined);
    }
    assert.equal(proxy.upstream.accepted, 2);
  });
}

function assertTold(line: LogLine, { cert }: Credential, what: string): void {
  const { fingerprint256, subject } = new X509Certificate(cert);
  const told = line['client_cert'] as { subject: string; fingerprint: string };
  assert.equal(told.subject, subject, what);
  assert.equal(told.fingerprint, fingerprint256.replaceAll(':', '').toLowerCase(), what);
  assert.equal(line['phase'], 'authorize', what);
  assert.ok(line['error'], what);
}

test('an upstream that is dialled early takes no route that authenticates', async (t) => {
  await assert.rejects(startTerminating(t, { ...scene, upstream: { dial: 'early' } }), /dial: early/);
});
