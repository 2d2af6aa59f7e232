/**
 * A session lives no longer than the certificate, the chain and the CRL behind it: what OpenSSL does not look at when it
 * resumes is looked at here, at a time given by the test. Sessions are real ones, of TLS 1.2 and 1.3.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import type { ClientAuthConfig } from '../../src/config/schema/schema.ts';
import type { ConnectionCode } from '../../src/errors.ts';
import { type ClientAuth, createClientAuth, type PeerFacts } from '../../src/tls/client-auth/client-auth.ts';
import { type Credential, createAuthority, selfSigned } from '../support/certificates.ts';
import { askForCertificates, type Handshakes } from '../support/peer-facts.ts';

const hour = 3_600_000;
const start = Date.now();
const at = (hours: number): Date => new Date(start + hours * hour);
const versions = ['TLSv1.2', 'TLSv1.3'] as const;

const own = await selfSigned({ dns: ['proxy.example'] });
const config: ClientAuthConfig = { mode: 'require', authority: 'clients' };

function authority(cas: readonly Credential[], crl: readonly string[] = []) {
  return { certificates: cas.map(({ cert }) => new X509Certificate(cert)), crl };
}

/** A full handshake and a resumed one, in each version. */
async function twice(
  server: Handshakes,
  credential: Credential | undefined,
): Promise<[PeerFacts, PeerFacts][]> {
  const pairs: [PeerFacts, PeerFacts][] = [];
  for (const version of versions) {
    const first = await server.connect({ credential, version });
    const second = await server.connect({ credential, version, session: first.session });
    assert.equal(first.facts.resumed, false);
    assert.equal(second.facts.resumed, true, `${version} did not resume`);
    pairs.push([first.facts, second.facts]);
  }
  return pairs;
}

function verdictOf(auth: ClientAuth, facts: PeerFacts, hours: number): ConnectionCode | 'ok' {
  const verdict = auth.verify(facts, at(hours).getTime());
  return verdict.ok ? 'ok' : (verdict.error.code as ConnectionCode);
}

/** The same certificate with another end; its signature is wrong then. */
function prolong(pem: string, from: Date, to: Date): Buffer {
  const utcTime = (date: Date): string =>
    date
      .toISOString()
      .replace(/[-:T]|\.\d+/g, '')
      .slice(2);
  const der = Buffer.from(new X509Certificate(pem).raw);
  const at = der.lastIndexOf(utcTime(from));
  assert.notEqual(at, -1);
  der.write(utcTime(to), at);
  return der;
}

test('its own dates', async (t) => {
  const ca = await createAuthority({ name: 'CA' });
  const server = await askForCertificates(t, own, { ca: [ca.cert] });
  const leaf = await ca.issue({ cn: 'x', notAfter: at(1) });
  const auth = createClientAuth(config, authority([ca]));
  for (const [full, resumed] of await twice(server, leaf)) {
    assert.equal(verdictOf(auth, full, 0), 'ok');
    assert.equal(verdictOf(auth, resumed, 0), 'ok');
    assert.equal(verdictOf(auth, resumed, 1.1), 'ERR_CLIENT_CERT_EXPIRED');
    assert.equal(verdictOf(auth, resumed, -1), 'ERR_CLIENT_CERT_NOT_YET_VALID');
  }
});

test('the dates of the CAs in the authority, on some way up', async (t) => {
  const ca = await createAuthority({ name: 'CA', notAfter: at(1) });
  const long = await createAuthority({ name: 'Root' });
  const short = await createAuthority({ name: 'Intermediate', parent: long, notAfter: at(1) });
  const server = await askForCertificates(t, own, { ca: [ca.cert, long.cert, short.cert] });
  const auth = createClientAuth(config, authority([ca, long, short]));
  for (const issuer of [ca, short]) {
    for (const [full, resumed] of await twice(server, await issuer.issue({ cn: 'x' }))) {
      assert.equal(verdictOf(auth, full, 0), 'ok');
      assert.equal(verdictOf(auth, resumed, 0.9), 'ok');
      assert.equal(verdictOf(auth, resumed, 1.1), 'ERR_CLIENT_CERT_EXPIRED');
    }
  }
});

test('a namesake of its CA does not stand in for it', async (t) => {
  const ca = await createAuthority({ name: 'CA', notAfter: at(1) });
  const namesake = await createAuthority({ name: 'CA' });
  const server = await askForCertificates(t, own, { ca: [ca.cert, namesake.cert] });
  const auth = createClientAuth(config, authority([ca, namesake]));
  for (const [, resumed] of await twice(server, await ca.issue({ cn: 'x' }))) {
    assert.equal(verdictOf(auth, resumed, 0), 'ok');
    assert.notEqual(verdictOf(auth, resumed, 1.1), 'ok');
  }
});

// Node 24 tells a server nothing of the CAs that a trusted client sends.
const skip = process.versions.node.startsWith('24.');
test('an intermediate that clients send is remembered, with its dates; unknown ones are refused', {
  skip,
}, async (t) => {
  const root = await createAuthority({ name: 'Root' });
  const upper = await createAuthority({ name: 'Upper', parent: root, notAfter: at(1) });
  const lower = await createAuthority({ name: 'Lower', parent: upper });
  const server = await askForCertificates(t, own, { ca: [root.cert] });
  const pairs = await twice(server, await lower.issue({ cn: 'x' }));
  for (const [full, resumed] of pairs) {
    const auth = createClientAuth(config, authority([root]));
    assert.equal(verdictOf(auth, resumed, 0), 'ERR_CLIENT_CERT_UNTRUSTED');
    assert.equal(verdictOf(auth, full, 0), 'ok');
    assert.equal(verdictOf(auth, resumed, 0), 'ok');
    assert.equal(verdictOf(auth, resumed, 1.1), 'ERR_CLIENT_CERT_EXPIRED');
  }
  // Another client of the same intermediate need not have been here.
  const auth = createClientAuth(config, authority([root]));
  assert.equal(verdictOf(auth, pairs[0]![0], 0), 'ok');
  for (const [, resumed] of await twice(server, await lower.issue({ cn: 'y' }))) {
    assert.equal(verdictOf(auth, resumed, 0), 'ok');
  }
});

test('a client cannot prolong the life of its intermediate by sending another of that key', async (t) => {
  const root = await createAuthority({ name: 'Root' });
  const short = await createAuthority({ name: 'Intermediate', parent: root, notAfter: at(1) });
  const leaf = await short.issue({ cn: 'x' });
  const forged = new X509Certificate(prolong(short.cert, at(1), at(2000)));
  const server = await askForCertificates(t, own, { ca: [root.cert] });
  for (const [full, resumed] of await twice(server, leaf)) {
    const auth = createClientAuth(config, authority([root]));
    const sent = [forged, ...full.chain()];
    assert.equal(verdictOf(auth, { ...full, chain: () => sent }, 0), 'ok');
    assert.notEqual(verdictOf(auth, resumed, 1.1), 'ok');
  }
});

test('the CRL of its CA', async (t) => {
  const ca = await createAuthority({ name: 'CA' });
  const other = await createAuthority({ name: 'Other' });
  const crl = [await ca.crl([], { nextUpdate: at(2) }), await other.crl([], { nextUpdate: at(1) })];
  const server = await askForCertificates(t, own, { ca: [ca.cert, other.cert], crl });
  const auth = createClientAuth(config, authority([ca, other], crl));
  for (const [full, resumed] of await twice(server, await ca.issue({ cn: 'x' }))) {
    assert.equal(verdictOf(auth, full, 0), 'ok');
    // That of another CA is none of its business.
    assert.equal(verdictOf(auth, resumed, 1.5), 'ok');
    assert.equal(verdictOf(auth, resumed, 2.1), 'ERR_CRL_EXPIRED');
  }
});

test('pins and rules', async (t) => {
  const ca = await createAuthority({ name: 'CA' });
  const server = await askForCertificates(t, own, { ca: [ca.cert] });
  const leaf = await ca.issue({ cn: 'x', dns: ['a.example'] });
  const [pinned, unpinned, ruled] = [
    createClientAuth({ mode: 'require', pins: [leaf.pin] }, undefined),
    createClientAuth({ mode: 'require', pins: [ca.pin] }, undefined),
    createClientAuth({ ...config, allow: [{ dns: 'b.example' }] }, authority([ca])),
  ];
  for (const [, resumed] of await twice(server, leaf)) {
    assert.equal(verdictOf(pinned, resumed, 0), 'ok');
    assert.equal(verdictOf(unpinned, resumed, 0), 'ERR_CLIENT_CERT_NOT_PINNED');
    assert.equal(verdictOf(ruled, resumed, 0), 'ERR_CLIENT_CERT_NOT_ALLOWED');
  }
});

test('a refused client is refused again', async (t) => {
  const ca = await createAuthority({ name: 'CA' });
  const server = await askForCertificates(t, own, { ca: [ca.cert] });
  const auth = createClientAuth(config, authority([ca]));
  for (const [, resumed] of await twice(server, await selfSigned({ cn: 'x' }))) {
    assert.equal(verdictOf(auth, resumed, 0), 'ERR_CLIENT_CERT_UNTRUSTED');
  }
  for (const [, resumed] of await twice(server, undefined)) {
    assert.equal(verdictOf(auth, resumed, 0), 'ERR_CLIENT_CERT_REQUIRED');
  }
  // Node 20 to 24 say that a client without a certificate is authorized when it resumes.
  const facts = { certificate: undefined, chainError: undefined, resumed: true, chain: () => [] };
  assert.equal(verdictOf(auth, facts, 0), 'ERR_CLIENT_CERT_REQUIRED');
});
