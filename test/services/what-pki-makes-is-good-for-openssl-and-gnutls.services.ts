/**
 * What `penstock pki` makes is good for others: `openssl verify` and `certtool` accept its chains for the right purpose and
 * name, read its CRL and refuse whom it revokes, and find in a certificate what was asked for.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { newPki } from '../support/pki.ts';
import { run } from './process.ts';

const openssl = (...args: string[]) => run('openssl', args);

test('openssl and certtool', async (t) => {
  const { pki, dir } = await newPki(t);
  const path = (name: string) => join(dir, name);
  await pki.issue('db.example');
  await pki.issue('rsa.example', { rsa: true });
  await pki.issue('app', { client: true });
  await pki.issue('svid', { san: ['uri:spiffe://example.org/svid'] });
  await pki.issue('etcd-1', { server: true, client: true });
  await pki.issue('own', { selfSigned: true });
  await pki.issue('gone', { client: true });
  await pki.revoke('gone');

  const verify = (name: string, ...more: string[]) =>
    openssl(
      'verify',
      ...['-x509_strict', '-CAfile', path('ca.crt'), '-crl_check', '-CRLfile', path('ca.crl')],
      ...more,
      path(`${name}.crt`),
    );

  await t.test('each for its purpose and name', async () => {
    const good: [string, ...string[]][] = [
      ['db.example', '-purpose', 'sslserver', '-verify_hostname', 'db.example'],
      ['rsa.example', '-purpose', 'sslserver', '-verify_hostname', 'rsa.example'],
      ['app', '-purpose', 'sslclient'],
      ['svid', '-purpose', 'sslserver'],
      ['svid', '-purpose', 'sslclient'],
      ['etcd-1', '-purpose', 'sslserver', '-verify_hostname', 'etcd-1'],
      ['etcd-1', '-purpose', 'sslclient'],
    ];
    for (const [name, ...more] of good) {
      const { code, stdout, stderr } = await verify(name, ...more);
      assert.equal(code, 0, `${name} ${more.join(' ')}: ${stdout}${stderr}`);
    }
    const bad: [RegExp, string, ...string[]][] = [
      [/unsuitable certificate purpose/, 'db.example', '-purpose', 'sslclient'],
      [/unsuitable certificate purpose/, 'app', '-purpose', 'sslserver'],
      [/hostname mismatch/, 'db.example', '-verify_hostname', 'other.example'],
      [/certificate revoked/, 'gone', '-purpose', 'sslclient'],
      [/self-signed certificate/, 'own'],
    ];
    for (const [words, name, ...more] of bad) {
      const { code, stderr } = await verify(name, ...more);
      assert.notEqual(code, 0, name);
      assert.match(stderr, words);
    }
  });

  await t.test('what a certificate says', async () => {
    const svid = await openssl('x509', '-in', path('svid.crt'), '-noout', '-text');
    assert.match(svid.stdout, /URI:spiffe:\/\/example\.org\/svid/);
    assert.match(svid.stdout, /TLS Web Server Authentication, TLS Web Client Authentication/);
    assert.match(svid.stdout, /Key Usage: critical\n +Digital Signature\n/);
    for (const name of ['db.example', 'rsa.example', 'ca']) {
      const [key, cert] = await Promise.all([
        openssl('pkey', '-in', path(`${name}.key`), '-pubout'),
        openssl('x509', '-in', path(`${name}.crt`), '-noout', '-pubkey'),
      ]);
      assert.ok(key.stdout.startsWith('-----BEGIN PUBLIC KEY-----'));
      assert.equal(key.stdout, cert.stdout);
    }
  });

  await t.test('the revocation list', async () => {
    const crl = await openssl('crl', '-in', path('ca.crl'), '-noout', '-text', '-CAfile', path('ca.crt'));
    assert.match(crl.stderr + crl.stdout, /verify OK/);
    const serial = await openssl('x509', '-in', path('gone.crt'), '-noout', '-serial');
    assert.ok(crl.stdout.includes(`Serial Number: ${serial.stdout.trim().replace('serial=', '')}`));
    const gnutls = await run('certtool', [
      '--verify-crl',
      '--load-ca-certificate',
      path('ca.crt'),
      '--infile',
      path('ca.crl'),
    ]);
    assert.equal(gnutls.code, 0, gnutls.stderr);
    assert.match(gnutls.stdout + gnutls.stderr, /Verified\./);
  });

  await t.test('certtool', async () => {
    const trust = ['--load-ca-certificate', path('ca.crt'), '--load-crl', path('ca.crl')];
    const check = (name: string, ...more: string[]) =>
      run('certtool', ['--verify', ...trust, ...more, '--infile', path(`${name}.crt`)]);
    const good = await check('db.example', '--verify-hostname', 'db.example');
    assert.equal(good.code, 0, good.stdout + good.stderr);
    assert.match(good.stdout, /The certificate is trusted/);
    const revoked = await check('gone');
    assert.notEqual(revoked.code, 0);
    assert.match(revoked.stdout + revoked.stderr, /revoked/i);
    const info = await run('certtool', ['-i', '--infile', path('svid.crt')]);
    assert.match(info.stdout, /URI: spiffe:\/\/example\.org\/svid/);
  });

  await t.test('a server and a client of OpenSSL can be made of one file each', async () => {
    const both = join(dir, 'svid.pem');
    writeFileSync(both, readFileSync(path('svid.crt'), 'utf8') + readFileSync(path('svid.key'), 'utf8'), {
      mode: 0o600,
    });
    const { code, stderr } = await openssl(
      'pkcs12',
      '-export',
      '-in',
      both,
      '-passout',
      'pass:x',
      '-out',
      path('svid.p12'),
    );
    assert.equal(code, 0, stderr);
  });
});
