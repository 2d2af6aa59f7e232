/**
 * Client certificates made to be trouble, in real handshakes of TLS 1.2 and 1.3: chains that are too deep, too many, too
 * large or by those who may not issue, weak signatures and keys, names that hold a NUL or a comma to look like another's. Each
 * ends with its code, none reaches the upstream, and the next client is served.
 */
import assert from 'node:assert/strict';
import { createPrivateKey, webcrypto } from 'node:crypto';
import { test } from 'node:test';
import '../../src/tools/pki/reflect-metadata.ts';
import * as x509 from '@peculiar/x509';
import { type Authority, type Credential, createAuthority } from '../support/certificates.ts';
import type { ClientOptions } from '../support/clients.ts';
import { type Scene, startTerminating, visit } from '../support/terminating.ts';

const versions = ['TLSv1.2', 'TLSv1.3'] as const;
const ca = await createAuthority({ name: 'Clients' });
const foreign = await createAuthority({ name: 'Foreign' });
const good = await ca.issue({ cn: 'orders-app', dns: ['a.orders.example'] });

const allow = [{ cn: 'orders-app' }, { dns: '*.orders.example' }, { uri: 'spiffe://example.com/orders' }];
const scene: Scene = {
  listeners: {
    one: [
      { sni: 'pki.example', tls: { client_auth: { authority: 'clients' } } },
      { sni: 'rules.example', tls: { client_auth: { authority: 'clients', allow } } },
      { sni: 'pins.example', tls: { client_auth: { pins: [good.pin] } } },
    ],
  },
  authorities: { clients: { ca: ca.cert } },
};

/** A chain of so many intermediates below a CA. */
async function deepBelow(root: Authority, depth: number): Promise<Credential> {
  let parent = root;
  for (let level = 0; level < depth; level++)
    parent = await createAuthority({ name: `Level ${level}`, parent });
  return parent.issue({ cn: 'orders-app' });
}

/** Presents more certificates than it needs. */
function together(credential: Credential, ...more: string[]): Credential {
  return { ...credential, chain: (credential.chain || credential.cert) + more.join('') };
}

/** By the CA, but with SHA-1 (RFC 9155 and all CAs have given it up). */
async function signedWithSha1(): Promise<Credential> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-1' };
  const signingKey = await webcrypto.subtle.importKey(
    'pkcs8',
    createPrivateKey(ca.key).export({ type: 'pkcs8', format: 'der' }),
    algorithm,
    false,
    ['sign'],
  );
  const made = await x509.X509CertificateGenerator.create({
    subject: 'CN=orders-app',
    issuer: new x509.X509Certificate(ca.cert).subjectName,
    notAfter: new Date(Date.now() + 3_600_000),
    publicKey: new x509.X509Certificate(good.cert).publicKey,
    signingAlgorithm: algorithm,
    signingKey,
  });
  const cert = `${made.toString('pem')}\n`;
  return { ...good, cert, chain: cert };
}

type Case = readonly [
  what: string,
  credential: Credential,
  code: string,
  error: RegExp,
  options?: ClientOptions,
];

/** Such keys and hashes a client has to be talked into. */
const weak = { ciphers: 'DEFAULT@SECLEVEL=0' };
const junk = Array.from({ length: 2500 }, () => foreign.cert);
const leafAsCa = await createAuthority({ name: 'No CA', parent: { ...good, chain: good.cert } });

const refused: readonly Case[] = [
  ['too deep', await deepBelow(ca, 110), 'ERR_CLIENT_CERT_UNTRUSTED', /Level 109/],
  ['deep, of another root', await deepBelow(foreign, 40), 'ERR_CLIENT_CERT_UNTRUSTED', /Level 39/],
  [
    'of more than 100 KiB',
    together(good, ...junk.slice(0, 300)),
    'ERR_TLS_HANDSHAKE',
    /excessive message size/,
  ],
  ['of more than a megabyte', together(good, ...junk), 'ERR_TLS_HANDSHAKE', /excessive message size/],
  [
    'issued by a leaf',
    await leafAsCa.issue({ cn: 'orders-app' }),
    'ERR_CLIENT_CERT_UNTRUSTED',
    /keyUsage does not include keyCertSign \(KEYUSAGE_NO_CERTSIGN; issued by CN=No CA\)/,
  ],
  [
    'signed with SHA-1',
    await signedWithSha1(),
    'ERR_CLIENT_CERT_UNTRUSTED',
    /CA_MD_TOO_WEAK; issued by CN=Clients\)/,
    weak,
  ],
  [
    'with an RSA key of 1024 bits',
    await ca.issue({ cn: 'orders-app', keyType: 'rsa', rsaBits: 1024 }),
    'ERR_CLIENT_CERT_UNTRUSTED',
    /EE_KEY_TOO_SMALL; issued by CN=Clients\)/,
    weak,
  ],
  [
    'of an intermediate with an RSA key of 1024 bits',
    await (await createAuthority({ name: 'Weak', parent: ca, keyType: 'rsa', rsaBits: 1024 })).issue({
      cn: 'x',
    }),
    'ERR_CLIENT_CERT_UNTRUSTED',
    /CA_KEY_TOO_SMALL; issued by CN=Weak\)/,
    weak,
  ],
];

for (const version of versions) {
  test(`${version}: each is refused, and the next client is served`, async (t) => {
    const proxy = await startTerminating(t, scene);
    for (const [what, credential, code, error, options] of refused) {
      const servername = 'pki.example';
      const { talk, line } = await visit(proxy, proxy.port(), {
        servername,
        version,
        credential,
        ...options,
      });
      assert.equal(talk.text, '', what);
      assert.equal(line['code'], code, what);
      assert.match(String(line['error']), error, what);
      if (code === 'ERR_TLS_HANDSHAKE') assert.equal(talk.error, 'ALERT 47', what);
    }
    assert.equal(proxy.upstream.accepted, 0);
    for (const servername of ['pki.example', 'rules.example', 'pins.example']) {
      const { talk } = await visit(proxy, proxy.port(), { servername, version, credential: good });
      assert.equal(talk.text, 'ping');
    }
  });

  test(`${version}: what is merely too much is let in: 150 certificates beside a good one, ten intermediates`, async (t) => {
    const proxy = await startTerminating(t, scene);
    for (const credential of [together(good, ...junk.slice(0, 150)), await deepBelow(ca, 10)]) {
      const { talk } = await visit(proxy, proxy.port(), { servername: 'pki.example', version, credential });
      assert.equal(talk.text, 'ping');
    }
  });

  test(`${version}: no name is read out of the middle of another`, async (t) => {
    const proxy = await startTerminating(t, scene);
    const disguises = [
      { cn: 'mallory,CN=orders-app' },
      { cn: 'mallory\nCN=orders-app' },
      { cn: 'orders-app\0.mallory' },
      { cn: 'orders-app\0' },
      { cn: 'mallory+CN=orders-app' },
      { o: 'CN=orders-app', cn: 'mallory' },
      { cn: 'mallory', dns: ['mallory.example, DNS:a.orders.example'] },
      { cn: 'mallory', dns: ['a.orders.example\0.mallory.example'] },
      { cn: 'mallory', dns: ['mallory.example\0.orders.example'] },
      { cn: 'mallory', uri: ['https://mallory.example/, URI:spiffe://example.com/orders'] },
      { cn: 'mallory', uri: ['spiffe://example.com/orders\0'] },
      { cn: 'mallory', uri: ['spiffe://example.com/orders', 'spiffe://example.com/mallory'] },
      { cn: 'mallory', email: ['x, DNS:a.orders.example'] },
    ];
    for (const options of disguises) {
      const what = JSON.stringify(options);
      const credential = await ca.issue(options);
      const { talk, line } = await visit(proxy, proxy.port(), {
        servername: 'rules.example',
        version,
        credential,
      });
      assert.equal(talk.text, '', what);
      assert.equal(line['code'], 'ERR_CLIENT_CERT_NOT_ALLOWED', what);
    }
    assert.equal(proxy.upstream.accepted, 0);
  });
}

test('TLS 1.2: an RSA key of 512 bits', async (t) => {
  const proxy = await startTerminating(t, scene);
  const credential = await ca.issue({ cn: 'orders-app', keyType: 'rsa', rsaBits: 512 });
  const options = { servername: 'pki.example', version: 'TLSv1.2', credential, ...weak } as const;
  const { talk, line } = await visit(proxy, proxy.port(), options);
  assert.deepEqual([talk.text, line['code']], ['', 'ERR_CLIENT_CERT_UNTRUSTED']);
  assert.equal(proxy.upstream.accepted, 0);
});
