/**
 * Of our own certificates, of which there may be ten thousand, dates, names, purposes and strength are read from the DER: they are
 * what Node says of them, and what is stronger or weaker is of another kind.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { before, test } from 'node:test';
import { readStrength, readValidity } from '../../src/config/material/der.ts';
import { dnsNames } from '../../src/x509/dns-names.ts';
import { purposeOf } from '../../src/x509/own-names.ts';
import { type Authority, createAuthority, selfSigned } from '../support/certificates.ts';

let ca: Authority;
before(async () => {
  ca = await createAuthority();
});

test('dates, in this half of the century, in the next, and before', async () => {
  for (const [notBefore, notAfter] of [
    ['2020-02-29T23:59:59Z', '2049-12-31T23:59:59Z'],
    ['1999-12-31T00:00:00Z', '2050-01-01T00:00:00Z'],
  ] as const) {
    const { cert } = await ca.issue({ notBefore: new Date(notBefore), notAfter: new Date(notAfter) });
    const { raw, validFrom, validTo } = new X509Certificate(cert);
    assert.deepEqual(readValidity(raw), [Date.parse(validFrom), Date.parse(validTo)]);
    assert.deepEqual(readValidity(raw), [Date.parse(notBefore), Date.parse(notAfter)]);
  }
  assert.equal(readValidity(Buffer.from('3000', 'hex')), undefined);
  assert.equal(readValidity(Buffer.of()), undefined);
});

test('names and purposes', async () => {
  for (const options of [
    { dns: ['a.example', '*.B.example'], usage: 'client' as const },
    { dns: ['a.example'] },
    { cn: 'only-a-cn' },
    { ip: ['127.0.0.1'] },
  ]) {
    const { cert } = await ca.issue(options);
    const leaf = new X509Certificate(cert);
    assert.deepEqual(purposeOf(cert + ca.cert), { dns: dnsNames(leaf), extendedKeyUsage: leaf.keyUsage });
  }
  assert.deepEqual(purposeOf(ca.cert).dns, []);
});

test('strength: the same of equals, another of whatever OpenSSL may judge otherwise', async () => {
  const made = {
    ec: await ca.issue({ cn: 'one' }),
    rsa: await ca.issue({ keyType: 'rsa' }),
    weak: await ca.issue({ keyType: 'rsa', rsaBits: 1024 }),
    odd: await ca.issue({ keyType: 'rsa', rsaBits: 1032 }),
    own: await selfSigned(),
  };
  const strengthOf = (pem: string) => readStrength(new X509Certificate(pem).raw);
  const all = Object.values(made).map(({ cert }) => strengthOf(cert));
  assert.ok(!all.includes(undefined));
  assert.equal(new Set(all).size, all.length);
  assert.equal(strengthOf((await ca.issue({ cn: 'another' })).cert), strengthOf(made.ec.cert));
  for (const [one, bits] of [
    [made.rsa, 2048],
    [made.weak, 1024],
    [made.odd, 1032],
  ] as const) {
    assert.ok(strengthOf(one.cert)?.startsWith(`rsa ${bits} `));
  }
  assert.equal(readStrength(Buffer.from('3000', 'hex')), undefined);
});
