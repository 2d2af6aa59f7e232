/**
 * What OpenSSL finds wrong with a client's chain is told by its own name, with a sentence and a remedy, also where Node says
 * UNSPECIFIED: each error that a certificate or a list can be made to cause is caused here, in a real handshake.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import type { ConnectionCode } from '../../src/errors.ts';
import { verifyErrorTable } from '../../src/openssl/verify-error-table.ts';
import { verifyError, verifyErrorName } from '../../src/openssl/verify-errors.ts';
import { createClientAuth } from '../../src/tls/client-auth/client-auth.ts';
import { chainReason } from '../../src/tls/upstream/verify-upstream.ts';
import { type Credential, createAuthority, selfSigned, temporaryDirectory } from '../support/certificates.ts';
import { load } from '../support/configuration.ts';
import { opensslCertificate, opensslCrl, type Recipe } from '../support/openssl-ca.ts';
import { askForCertificates } from '../support/peer-facts.ts';

const ca = ['basicConstraints = critical,CA:TRUE', 'subjectKeyIdentifier = hash'];
const client = ['basicConstraints = critical,CA:FALSE', 'extendedKeyUsage = clientAuth'];
const rsa1024 = ['rsa:1024'];

type Case = {
  readonly trusted: readonly Credential[];
  readonly presented: Credential;
  readonly crl?: readonly string[];
  readonly code?: ConnectionCode;
};

/** The error that each is to cause. */
async function cases(directory: string): Promise<Record<string, Case>> {
  const make = (cn: string, recipe: Recipe) => opensslCertificate(directory, cn, recipe);
  const root = make('Root', { extensions: ca });
  const below = (
    extensions: readonly string[],
    leaf: readonly string[] = client,
    rest: Recipe = {},
  ): Case => {
    const middle = make('Middle', { by: root, extensions: [...ca, ...extensions], ...rest });
    return { trusted: [root], presented: make('leaf', { by: middle, extensions: leaf }) };
  };
  const leaf = make('leaf', { by: root, extensions: client });
  const named = (name: string) => [...client, `subjectAltName = ${name}`];
  const list = (extensions: readonly string[], by = root) => opensslCrl(directory, by, extensions);
  const other = make('Other', { extensions: ca });
  const namesake = make('Root', { extensions: ['basicConstraints = critical,CA:TRUE'] });
  const keyless = [
    'basicConstraints = critical,CA:TRUE',
    'subjectKeyIdentifier = none',
    'authorityKeyIdentifier = none',
  ];
  const plain = make('Plain', { extensions: keyless });
  const plainTwin = make('Plain', { extensions: keyless });
  const signsNoLists = make('No lists', { extensions: [...ca, 'keyUsage = critical,keyCertSign'] });
  const middle = make('Middle', { by: root, extensions: ca });
  const bare = (credential: Credential): Credential => ({ ...credential, chain: credential.cert });
  return {
    PERMITTED_VIOLATION: below(
      ['nameConstraints = critical,permitted;DNS:ours.example'],
      named('DNS:a.theirs.example'),
    ),
    EXCLUDED_VIOLATION: below(
      ['nameConstraints = critical,excluded;DNS:theirs.example'],
      named('DNS:a.theirs.example'),
    ),
    UNSUPPORTED_CONSTRAINT_TYPE: below(
      ['nameConstraints = critical,permitted;RID:1.2.3'],
      named('RID:1.2.3'),
    ),
    UNSUPPORTED_NAME_SYNTAX: below(
      ['nameConstraints = critical,permitted;URI:ours.example'],
      named('URI:urn:x'),
    ),
    PATH_LENGTH_EXCEEDED: (() => {
      const short = make('Short', { extensions: ['basicConstraints = critical,CA:TRUE,pathlen:0'] });
      const between = make('Between', { by: short, extensions: ca });
      return { trusted: [short], presented: make('leaf', { by: between, extensions: client }) };
    })(),
    INVALID_CA: {
      trusted: [root],
      presented: make('leaf', {
        by: make('No CA', { by: root, extensions: ['basicConstraints = CA:FALSE'] }),
        extensions: client,
      }),
    },
    UNHANDLED_CRITICAL_EXTENSION: {
      trusted: [root],
      presented: make('leaf', { by: root, extensions: [...client, '1.2.3.4 = critical,ASN1:NULL'] }),
    },
    EE_KEY_TOO_SMALL: {
      trusted: [root],
      presented: make('leaf', { by: root, extensions: client, newKey: rsa1024 }),
    },
    CA_KEY_TOO_SMALL: below([], client, { newKey: rsa1024 }),
    CA_MD_TOO_WEAK: {
      trusted: [root],
      presented: make('leaf', { by: root, extensions: client, digest: 'sha1' }),
    },
    INVALID_PURPOSE: {
      ...below(['extendedKeyUsage = serverAuth']),
      code: 'ERR_CLIENT_CERT_PURPOSE',
    },
    CERT_SIGNATURE_FAILURE: {
      trusted: [plain],
      presented: make('leaf', { by: plainTwin, extensions: [...client, 'authorityKeyIdentifier = none'] }),
    },
    DEPTH_ZERO_SELF_SIGNED_CERT: { trusted: [root], presented: await selfSigned({ cn: 'x' }) },
    SELF_SIGNED_CERT_IN_CHAIN: {
      trusted: [root],
      presented: { ...leaf, ...make('leaf', { by: { ...other, chain: other.cert }, extensions: client }) },
    },
    UNABLE_TO_VERIFY_LEAF_SIGNATURE: {
      trusted: [root],
      presented: make('leaf', { by: other, extensions: client }),
    },
    UNABLE_TO_GET_ISSUER_CERT_LOCALLY: {
      trusted: [root],
      presented: make('leaf', { by: make('M', { by: other, extensions: ca }), extensions: client }),
    },
    UNABLE_TO_GET_ISSUER_CERT: {
      trusted: [middle],
      presented: bare(make('leaf', { by: middle, extensions: client })),
    },
    UNABLE_TO_GET_CRL: { trusted: [root], presented: leaf, crl: [list([], other)] },
    DIFFERENT_CRL_SCOPE: {
      trusted: [root],
      presented: leaf,
      crl: [list(['issuingDistributionPoint = critical,onlyuser:TRUE'])],
    },
    UNHANDLED_CRITICAL_CRL_EXTENSION: {
      trusted: [root],
      presented: leaf,
      crl: [list(['1.2.3.4 = critical,ASN1:NULL'])],
    },
    CRL_SIGNATURE_FAILURE: { trusted: [root], presented: leaf, crl: [list([], namesake)] },
    KEYUSAGE_NO_CRL_SIGN: {
      trusted: [signsNoLists],
      presented: make('leaf', { by: signsNoLists, extensions: client }),
      crl: [list([], signsNoLists)],
    },
  };
}

test('each that can be made is told by its name, sentence and remedy', async (t) => {
  const own = await selfSigned({ dns: ['proxy.example'] });
  for (const [name, { trusted, presented, crl, code }] of Object.entries(
    await cases(temporaryDirectory(t)),
  )) {
    const pems = trusted.map(({ cert }) => cert);
    const server = await askForCertificates(t, own, { ca: pems, ...(crl && { crl: [...crl] }) });
    const certificates = pems.map((pem) => new X509Certificate(pem));
    const auth = createClientAuth({ mode: 'require', authority: 'people' }, { certificates, crl: crl ?? [] });
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const { facts } = await server.connect({ credential: presented, version });
      const verdict = auth.verify(facts, Date.now());
      assert.ok(!verdict.ok, name);
      const { error } = verdict;
      assert.equal(error.code, code ?? 'ERR_CLIENT_CERT_UNTRUSTED', `${name}: ${error.message}`);
      assert.ok(error.hint, name);
      assert.match(error.message, told[name] ?? new RegExp(`\\b${name}\\b`), name);
      // What is in the way of checking is no fault of the client's.
      assert.equal(error.side, verifyError(name)?.kind === 'crl' ? 'proxy' : 'client', name);
    }
  }
});

/** Those whose sentence is older than the table. */
const told: Readonly<Record<string, RegExp>> = {
  INVALID_PURPOSE: /or one above it is not for clients/,
  DEPTH_ZERO_SELF_SIGNED_CERT: /is self-signed, and not in authority "people"/,
  UNABLE_TO_GET_CRL: /authority "people" has no usable CRL for CN=Root/,
};

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
