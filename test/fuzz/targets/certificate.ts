/** Certificates that clients send: names for rules and logs, dates. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { type CertificateNames, printName, readCertificate } from '../../../src/x509/certificate-names.ts';
import { corpusFiles, derTokens, repairDer } from '../corpus.ts';
import type { Target } from '../target.ts';

export const target: Target = {
  name: 'certificate',
  seeds: () => corpusFiles('certificates', '.der'),
  tokens: derTokens,
  maxLength: 20_000,
  repair: repairDer,
  check(der) {
    printName(der);
    const names = readCertificate(der);
    if (names === undefined) return;
    assert.match(names.subject + names.sans.join(), /^[ -~]*$/, 'a log line with more than printable ASCII');
    assert.ok(names.subject.length < 600 && names.sans.every((san) => san.length < 300));
    const texts = [names.cn, names.ou, names.uris, names.dns, names.emails, names.ips].flat();
    assert.ok(!texts.some((text) => text.includes('\0')), 'a name with a NUL');
    assert.ok(Number.isFinite(names.notBefore) && Number.isFinite(names.notAfter));
    assert.match(printName(names.issuerDer), /^[ -~]*$/);
    compare(names, der);
  },
};

/** OpenSSL reads much that is no strict DER, so only what both have read is compared. */
function compare(names: CertificateNames, der: Buffer): void {
  let theirs: X509Certificate;
  try {
    theirs = new X509Certificate(der);
  } catch {
    return;
  }
  assert.equal(names.notBefore, Date.parse(theirs.validFrom), 'another notBefore');
  assert.equal(names.notAfter, Date.parse(theirs.validTo), 'another notAfter');
  const printed = theirs.subjectAltName;
  // Only without quotes and escapes can Node's text be taken apart.
  // On Node 20 null, where it cannot be read.
  if (!printed || !/^[!#-[\]-~ ]+$/.test(printed)) return;
  const parts = printed.split(', ');
  const of = (prefix: string): string[] =>
    parts.filter((part) => part.startsWith(prefix)).map((part) => part.slice(prefix.length));
  for (const [ours, prefix] of [
    [names.dns, 'DNS:'],
    [names.uris, 'URI:'],
    [names.emails, 'email:'],
  ] as const) {
    if (ours.length > 0) assert.deepEqual(ours, of(prefix), `other names in ${printed}`);
  }
}
