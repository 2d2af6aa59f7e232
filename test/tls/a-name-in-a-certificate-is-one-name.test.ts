/**
 * Names are read from the DER, whole: a comma, a NUL or a line break in one of them never makes it look like two or like
 * another, neither to rules nor in a log. Whatever bytes a certificate has, reading it ends with names or with none.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { rootCertificates } from 'node:tls';
import fc from 'fast-check';
import { printName, readCertificate } from '../../src/x509/certificate-names.ts';
import {
  alternativeNames,
  certificateDer,
  cn,
  extension,
  type nameDer,
  ou,
  tlv,
} from '../support/certificate-der.ts';
import { createAuthority } from '../support/certificates.ts';

const ca = await createAuthority({ name: 'CA' });
const leaf = await ca.issue({
  cn: 'orders-app',
  ou: ['payments', 'eu'],
  o: 'Example, Inc.',
  dns: ['a.example', '*.b.example'],
  uri: ['spiffe://example.com/orders/a'],
  email: ['a@example.com'],
  ip: ['10.0.0.1', '2001:db8::1'],
  usage: 'client',
});

function subjectOf(...subject: Parameters<typeof nameDer>[0]) {
  const names = readCertificate(certificateDer({ subject }));
  assert.ok(names);
  return names;
}

test('a certificate as CAs make them', () => {
  const names = readCertificate(new X509Certificate(leaf.cert).raw);
  const x509 = new X509Certificate(leaf.cert);
  assert.ok(names);
  assert.equal(names.subject, 'CN=orders-app,OU=eu,OU=payments,O=Example\\, Inc.');
  assert.deepEqual(names.cn, ['orders-app']);
  assert.deepEqual(names.ou, ['payments', 'eu']);
  assert.deepEqual(names.dns, ['a.example', '*.b.example']);
  assert.deepEqual(names.uris, ['spiffe://example.com/orders/a']);
  assert.deepEqual(names.emails, ['a@example.com']);
  assert.deepEqual(names.ips, ['10.0.0.1', '2001:db8::1']);
  assert.deepEqual(names.sans, [
    'DNS:a.example',
    'DNS:*.b.example',
    'URI:spiffe://example.com/orders/a',
    'email:a@example.com',
    'IP:10.0.0.1',
    'IP:2001:db8::1',
  ]);
  assert.deepEqual(names.extendedKeyUsage, ['1.3.6.1.5.5.7.3.2']);
  assert.equal(printName(names.issuerDer), 'CN=CA');
  assert.deepEqual(names.spkiDer, x509.publicKey.export({ type: 'spki', format: 'der' }));
  assert.equal(names.notBefore, Date.parse(x509.validFrom));
  assert.equal(names.notAfter, Date.parse(x509.validTo));
});

test('every public root can be read', () => {
  for (const pem of rootCertificates) {
    const certificate = new X509Certificate(pem);
    const names = readCertificate(certificate.raw);
    assert.ok(names, certificate.subject);
    assert.equal(names.notAfter, Date.parse(certificate.validTo));
    assert.deepEqual(names.subjectDer, names.issuerDer);
  }
});

test('nothing in a name can end it or start another one in a log', () => {
  const table: [string, string][] = [
    ['a,CN=admin', 'CN=a\\,CN=admin'],
    ['a+CN=admin', 'CN=a\\+CN=admin'],
    ['a\nCN=admin', 'CN=a\\0ACN=admin'],
    ['a"b\\c;d<e>f', 'CN=a\\"b\\\\c\\;d\\<e\\>f'],
    ['J\u00fcrgen', 'CN=J\\C3\\BCrgen'],
    ['\u202eadmin', 'CN=\\E2\\80\\AEadmin'],
    [' a ', 'CN=\\ a\\ '],
    [' ', 'CN=\\ '],
    ['#a', 'CN=\\#a'],
    ['\u001b[31m', 'CN=\\1B[31m'],
    ['', 'CN='],
  ];
  for (const [value, printed] of table) {
    const names = subjectOf({ oid: cn, value });
    assert.equal(names.subject, printed);
    assert.deepEqual(names.cn, [value]);
  }
  const { subject } = subjectOf({ oid: cn, value: 'x'.repeat(60_000) });
  assert.ok(subject.length < 600);
});

test('every type of string is read as what it is', () => {
  const table: [tag: number, value: Buffer, text: string | undefined][] = [
    [12, Buffer.from('J\u00fcrgen'), 'J\u00fcrgen'],
    [12, Buffer.from([0xc3]), undefined],
    [12, Buffer.from([0xc0, 0x80]), undefined],
    [19, Buffer.from('abc'), 'abc'],
    [19, Buffer.from([0xe9]), undefined],
    [22, Buffer.from('a@b'), 'a@b'],
    [22, Buffer.from([0x80]), undefined],
    [20, Buffer.from([0x4a, 0xfc]), 'J\u00fc'],
    [30, Buffer.from([0, 0x4a, 0, 0xfc]), 'J\u00fc'],
    [30, Buffer.from([0, 0x4a, 0]), undefined],
    [30, Buffer.from([0xd8, 0]), undefined],
    [28, Buffer.from([0, 1, 0xf6, 0]), '\u{1f600}'],
    [28, Buffer.from([0, 0x11, 0, 0]), undefined],
    [28, Buffer.from([0, 0, 0xd8, 0]), undefined],
    [4, Buffer.from('abc'), undefined],
  ];
  for (const [tag, value, text] of table) {
    assert.deepEqual(
      subjectOf({ oid: cn, tag, value }).cn,
      text === undefined ? [] : [text],
      `${tag} ${value}`,
    );
  }
});

test('a name with a NUL is no name, nor is any other of its kind', () => {
  const names = subjectOf(
    { oid: cn, value: 'admin' },
    { oid: cn, value: 'admin\0x' },
    { oid: ou, value: 'payments' },
  );
  assert.deepEqual(names.cn, []);
  assert.deepEqual(names.ou, ['payments']);
  assert.match(names.subject, /^OU=payments,CN=#0c0761646d696e0078,CN=admin$/);
  const wide = subjectOf({ oid: cn, tag: 30, value: Buffer.from([0, 0x61, 0, 0]) });
  assert.deepEqual(wide.cn, []);
  const sans = alternativeNames([
    [0x82, 'good.example'],
    [0x82, 'good.example\0.evil.example'],
    [0x86, 'spiffe://example.com/a'],
    [0x86, 'spiffe://example.com/a b'],
    [0x81, 'a@example.com\n'],
    [0x87, Buffer.from([10, 0, 0])],
  ]);
  const alternative = readCertificate(certificateDer({ extensions: [sans] }));
  assert.deepEqual(
    [alternative?.dns, alternative?.uris, alternative?.emails, alternative?.ips],
    [[], [], [], []],
  );
  assert.deepEqual(alternative?.sans, [
    'DNS:good.example',
    'DNS:good.example\\00.evil.example',
    'URI:spiffe://example.com/a',
    'URI:spiffe://example.com/a b',
    'email:a@example.com\\0A',
    'IP:(unreadable)',
  ]);
});

test('many and long names do not make a long log line', () => {
  const many = Array.from(
    { length: 500 },
    (_, index) => [0x82, `${'x'.repeat(400)}${index}.example`] as const,
  );
  const names = readCertificate(certificateDer({ extensions: [alternativeNames(many)] }));
  assert.equal(names?.dns.length, 500);
  assert.equal(names?.sans.length, 21);
  assert.equal(names?.sans.at(-1), '(480 more)');
  assert.ok(names?.sans.every((san) => san.length < 300));
});

test('what is not strict DER, or says one thing twice, cannot be read', () => {
  const purposes = extension('551d25', tlv(0x30, tlv(0x06, Buffer.from('2b06010505070302', 'hex'))));
  const good = certificateDer({ subject: [{ oid: cn, value: 'a' }], extensions: [purposes] });
  assert.deepEqual(readCertificate(good)?.extendedKeyUsage, ['1.3.6.1.5.5.7.3.2']);
  const sans = alternativeNames([[0x82, 'a.example']]);
  const time = (tag: number, text: string) => ({ notAfter: tlv(tag, Buffer.from(text)) });
  const table: [string, Buffer][] = [
    ['nothing', Buffer.alloc(0)],
    ['bytes after it', Buffer.concat([good, Buffer.alloc(1)])],
    ['cut short', good.subarray(0, -1)],
    ['an extension twice', certificateDer({ extensions: [sans, sans] })],
    [
      'an extension without its sequence',
      certificateDer({ extensions: [extension('551d11', Buffer.alloc(0))] }),
    ],
    ['an indefinite length', Buffer.concat([Buffer.from([0x30, 0x80]), good.subarray(4), Buffer.alloc(2)])],
    ['a length not minimal', Buffer.concat([Buffer.from([0x30, 0x83, 0]), good.subarray(2)])],
    ['too many names', certificateDer({ extensions: [alternativeNames(new Array(1001).fill([0x82, 'a']))] })],
    ['a time zone', certificateDer(time(0x17, '2501020304+0100'))],
    ['the 31st of February', certificateDer(time(0x17, '250231000000Z'))],
    ['an hour 24', certificateDer(time(0x17, '250102240000Z'))],
    ['a minute 60', certificateDer(time(0x17, '250102036000Z'))],
    ['a second 60', certificateDer(time(0x17, '250102030460Z'))],
    ['a fraction of a second', certificateDer(time(0x18, '20250102030405.5Z'))],
    ['a time without seconds', certificateDer(time(0x17, '2501020304Z'))],
  ];
  for (const [what, der] of table) assert.equal(readCertificate(der), undefined, what);
});

test('times of both kinds', () => {
  const table: [number, string, string][] = [
    [0x17, '491231235959Z', '2049-12-31T23:59:59Z'],
    [0x17, '500101000000Z', '1950-01-01T00:00:00Z'],
    [0x18, '20500101000000Z', '2050-01-01T00:00:00Z'],
    [0x18, '99991231235959Z', '9999-12-31T23:59:59Z'],
  ];
  for (const [tag, text, iso] of table) {
    const names = readCertificate(certificateDer({ notAfter: tlv(tag, Buffer.from(text)) }));
    assert.equal(names?.notAfter, Date.parse(iso));
  }
});

test('cut or changed anywhere, a certificate is read or it is not: nothing else happens', () => {
  const der = Buffer.from(new X509Certificate(leaf.cert).raw);
  for (let length = 0; length < der.length; length += 1) {
    assert.equal(readCertificate(der.subarray(0, length)), undefined);
  }
  const change = fc.record({ at: fc.nat(der.length - 1), byte: fc.integer({ min: 0, max: 255 }) });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (changes) => {
      const changed = Buffer.from(der);
      for (const { at, byte } of changes) changed[at] = byte;
      const names = readCertificate(changed);
      if (!names) return;
      assert.match(names.subject + names.sans.join(), /^[ -~]*$/);
      assert.ok(![...names.cn, ...names.ou, ...names.dns, ...names.uris].some((name) => name.includes('\0')));
    }),
    { numRuns: 3000 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      readCertificate(Buffer.from(bytes));
      printName(Buffer.from(bytes));
    }),
    { numRuns: 1000 },
  );
});
