/**
 * What OpenSSL finds wrong with a peer's chain is told by its own name, with a sentence and a remedy, also where Node says
 * UNSPECIFIED: each error that a certificate or a list can be made to cause is caused here, in real handshakes, by clients
 * and by upstreams. Those that cannot stand in the table under a heading that says why.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, type TestContext, test } from 'node:test';
import { verifyErrorTable } from '../../src/openssl/verify-error-table.ts';
import { verifyError, verifyErrorName } from '../../src/openssl/verify-errors.ts';
import { type ClientAuth, createClientAuth } from '../../src/tls/client-auth/client-auth.ts';
import { chainReason, upstreamFault } from '../../src/tls/upstream/verify-upstream.ts';
import { type Credential, createAuthority, selfSigned, temporaryDirectory } from '../support/certificates.ts';
import { ca, type FaultyChain, faultyChains } from '../support/chains-with-a-fault.ts';
import { load } from '../support/configuration.ts';
import { opensslCertificate, opensslCrl } from '../support/openssl-ca.ts';
import { askForCertificates, factsOfUpstream } from '../support/peer-facts.ts';

const versions = ['TLSv1.2', 'TLSv1.3'] as const;
const chains = Object.entries(await faultyChains(temporaryDirectory({ after })));

/** The certificates of the authority, and what Node takes of it. */
function trustOf({ trusted, crl }: Pick<FaultyChain, 'trusted' | 'crl'>) {
  const pems = trusted.map(({ cert }) => cert);
  return {
    certificates: pems.map((pem) => new X509Certificate(pem)),
    options: { ca: pems, ...(crl && { crl: [...crl] }) },
  };
}

/** What a policy that trusts these says of the client, under each version. */
async function asClient(t: TestContext, own: Credential, chain: FaultyChain) {
  const { certificates, options } = trustOf(chain);
  const server = await askForCertificates(t, own, options);
  const auth: ClientAuth = createClientAuth(
    { mode: 'require', authority: 'people' },
    { certificates, crl: chain.crl ?? [] },
  );
  const verdicts = [];
  for (const version of versions) {
    const { facts } = await server.connect({ credential: chain.presented, version });
    verdicts.push(auth.verify(facts, Date.now()));
  }
  return verdicts;
}

test('each that can be made is told of a client by its name, sentence and remedy', async (t) => {
  const own = await selfSigned({ dns: ['proxy.example'] });
  for (const [what, chain] of chains) {
    const name = nameIn(what);
    for (const verdict of await asClient(t, own, chain)) {
      assert.ok(!verdict.ok, what);
      const { error } = verdict;
      assert.equal(error.code, chain.code ?? 'ERR_CLIENT_CERT_UNTRUSTED', `${what}: ${error.message}`);
      assert.ok(error.hint, what);
      if (told[what]) assert.match(error.message, told[what], what);
      else assertSays(error.message, name, what);
      // What is in the way of checking is no fault of the client's.
      const kind = verifyError(name)?.kind;
      assert.equal(error.side, kind === 'crl' || kind === 'crl_stale' ? 'proxy' : 'client', what);
    }
  }
});

test('each that can be made is told of an upstream by its name, sentence and remedy', async (t) => {
  for (const [what, chain] of chains) {
    const name = chain.ofUpstream ?? nameIn(what);
    const peer = await factsOfUpstream(t, chain.presented, trustOf(chain).options);
    const fault = upstreamFault(peer, {
      config: { verify: 'ca', authority: 'people' },
      name: undefined,
      endpoint: '127.0.0.1:1',
      setting: 'upstreams.one.tls',
    });
    assert.ok(fault, what);
    assert.equal(fault.code, 'ERR_UPSTREAM_CERT_UNTRUSTED', what);
    assert.ok(fault.hint, what);
    assertSays(fault.message, name, what);
  }
});

const nameIn = (what: string): string => what.replace(/,.*/, '');

/** Whether it says what the table says of the error, and its name. */
function assertSays(message: string, name: string, what: string): void {
  const error = verifyError(name);
  // Of an issuer that is not there, each side has words of its own.
  if (error?.kind !== 'issuer') assert.ok(error && message.includes(error.what), `${what}: ${message}`);
  assert.match(message, new RegExp(`\\b${name}\\b`), what);
}

/** Those of clients whose sentence is older than the table. */
const told: Readonly<Record<string, RegExp>> = {
  INVALID_PURPOSE: /or one above it is not for clients/,
  DEPTH_ZERO_SELF_SIGNED_CERT: /is self-signed, and not in authority "people"/,
  UNABLE_TO_GET_CRL: /authority "people" has no usable CRL for CN=Root/,
  CERT_HAS_EXPIRED: / expired at 2020-01-02T03:04:05/,
  'CERT_HAS_EXPIRED, a CA': /or one above it expired/,
  CERT_NOT_YET_VALID: /is not valid before 2049-01-02T03:04:05/,
  'CERT_NOT_YET_VALID, a CA': /or one above it is not valid yet/,
  CERT_REVOKED: /or one above it is on a CRL of authority "people"/,
  CRL_HAS_EXPIRED: /a CRL of authority "people" is past its nextUpdate/,
  CRL_NOT_YET_VALID: /a CRL of authority "people" is past its nextUpdate, or not valid yet/,
};

test('each error is made here, or stands under a heading that says why no peer can cause it', () => {
  const made = new Set(chains.map(([what]) => nameIn(what)));
  const neverMade = new Set<string>();
  let isNever = false;
  for (const line of verifyErrorTable.split('\n').filter((line) => line !== '')) {
    if (line.startsWith('#')) isNever = line.startsWith('# never');
    else if (isNever) neverMade.add(line.replace(/ .*/, ''));
    else assert.ok(made.delete(line.replace(/ .*/, '')), `no test makes ${line}`);
  }
  assert.deepEqual([...made], []);
  assert.ok(neverMade.size > 40);
});

test('certificate policies are not looked at: Node has no option to ask OpenSSL for it', async (t) => {
  const directory = temporaryDirectory(t);
  const own = await selfSigned({ dns: ['proxy.example'] });
  const root = opensslCertificate(directory, 'Root', { extensions: ca });
  for (const policy of [
    'policyConstraints = critical,requireExplicitPolicy:0',
    'certificatePolicies = critical,ASN1:NULL',
  ]) {
    const middle = opensslCertificate(directory, 'Middle', { by: root, extensions: [...ca, policy] });
    const presented = opensslCertificate(directory, 'leaf', { by: middle });
    for (const { ok } of await asClient(t, own, { trusted: [root], presented })) assert.ok(ok, policy);
  }
});

test('whom the authority does not know is not told of CRLs', async (t) => {
  const own = await selfSigned({ dns: ['proxy.example'] });
  const [people, others] = [
    await createAuthority({ name: 'People' }),
    await createAuthority({ name: 'Others' }),
  ];
  const middle = await createAuthority({ name: 'Middle', parent: others });
  const trust = { ca: [people.cert], crl: [await people.crl([])] };
  const server = await askForCertificates(t, own, trust);
  const certificates = [new X509Certificate(people.cert)];
  const auth = createClientAuth({ mode: 'require', authority: 'people' }, { certificates, crl: trust.crl });
  for (const credential of [
    await selfSigned({ cn: 'x' }),
    await middle.issue({ cn: 'x' }),
    await others.issue({ cn: 'x' }),
  ]) {
    const { facts } = await server.connect({ credential });
    const verdict = auth.verify(facts, Date.now());
    assert.ok(!verdict.ok);
    assert.match(
      verdict.error.message,
      /is self-signed, and not in|which does not lead to authority "people"/,
    );
    assert.equal(verdict.error.side, 'client');
  }
});

test('each error of OpenSSL has a sentence and a remedy, and is found by its words', () => {
  const rows = verifyErrorTable.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  assert.ok(rows.length >= 90);
  const words = new Set<string>();
  for (const row of rows) {
    const [name = ''] = row.split(' | ');
    const error = verifyError(name);
    assert.ok(error?.what && error.remedy && error.kind && error.words, name);
    assert.equal(verifyErrorName('UNSPECIFIED', error.words), name);
    words.add(error.words);
    assert.ok(chainReason(name).what.startsWith('it'));
  }
  assert.equal(words.size, rows.length);
  assert.equal(verifyErrorName('UNSPECIFIED', 'a word of a later OpenSSL'), 'UNSPECIFIED');
  assert.equal(verifyErrorName('CERT_HAS_EXPIRED', ''), 'CERT_HAS_EXPIRED');
});

test('check: a list that is for users only leaves the CAs without one', async (t) => {
  const directory = temporaryDirectory(t);
  const root = opensslCertificate(directory, 'Root', { extensions: ca });
  const list = (scope: string) =>
    opensslCrl(directory, root, scope ? [`issuingDistributionPoint = critical,${scope}:TRUE`] : []);
  const [users, cas, all] = [list('onlyuser'), list('onlyCA'), list('')];
  const text =
    'authorities: { a: { ca: ca.crt, crl: a.crl } }\nlisteners: { l: { bind: ":1", routes: [{ deny: true }] } }\n';
  const warnings = async (crl: string) =>
    (await load(t, text, { files: { 'ca.crt': root.cert, 'a.crl': crl } })).warnings.filter(
      // They are made for a day or two.
      (line) => !/ expires in /.test(line),
    );
  assert.match(
    (await warnings(users)).join(),
    /authorities\.a\.crl.*the revocation lists of "Root" are not for CAs, and the root is looked up, too; every certificate is refused/,
  );
  assert.match(
    (await warnings(cas)).join(),
    /are for CAs only; certificates of clients and servers are refused/,
  );
  assert.deepEqual(await warnings(users + cas), []);
  assert.deepEqual(await warnings(all), []);
});
