/**
 * Makes the corpus of certificates, CRLs and OCSP responses anew: `node test/corpus/make-certificates.ts`. They are kept,
 * not made by each run, so that an input that a fuzzer found fails again. Their keys are thrown away.
 */
import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import { alternativeNames, certificateDer, cn, ou } from '../support/certificate-der.ts';
import { createAuthority } from '../support/certificates.ts';
import { ocspResponse } from '../support/ocsp.ts';

const save = (name: string, bytes: Buffer): void =>
  writeFileSync(new URL(`./certificates/${name}`, import.meta.url), bytes);
const der = (pem: string): Buffer => Buffer.from(new X509Certificate(pem).raw);
const notAfter = new Date('2049-12-31T00:00:00Z');

const ca = await createAuthority({ name: 'CA', notAfter });
const leaf = await ca.issue({
  cn: 'orders-app',
  ou: ['payments', 'eu'],
  o: 'Example, Inc.',
  dns: ['a.example', '*.b.example'],
  uri: ['spiffe://example.com/orders/a'],
  email: ['a@example.com'],
  ip: ['10.0.0.1', '2001:db8::1'],
  notAfter,
});
const other = await ca.issue({ keyType: 'rsa', cn: 'other', notAfter });
save('leaf.der', der(leaf.cert));
save('rsa.der', der(other.cert));
save('ca.der', der(ca.cert));
for (const [index, pem] of rootCertificates.slice(0, 4).entries()) save(`root-${index}.der`, der(pem));
save(
  'strings.der',
  certificateDer({
    subject: [
      { oid: cn, tag: 30, value: Buffer.from([0, 0x61, 0, 0xfc]) },
      { oid: ou, tag: 20, value: Buffer.from([0x4a, 0xfc]) },
      { oid: cn, tag: 28, value: Buffer.from([0, 1, 0xf6, 0]) },
    ],
    extensions: [
      alternativeNames([
        [0x82, 'a.example'],
        [0xa0, 'x'],
        [0x86, 'urn:a'],
      ]),
    ],
  }),
);
const fromPem = (pem: string): Buffer => Buffer.from(pem.replace(/-----[^-]+-----/g, ''), 'base64');
save('revoked.crl', fromPem(await ca.crl([leaf.serial, other.serial], { nextUpdate: notAfter })));
save('empty.crl', fromPem(await ca.crl([], { nextUpdate: notAfter })));
save('good.ocsp', ocspResponse(ca, leaf));
save('revoked.ocsp', ocspResponse(ca, leaf, { status: 'revoked', hash: 'sha256' }));
save('others.ocsp', ocspResponse(ca, leaf, { others: [other], nextUpdate: null }));
save('error.ocsp', ocspResponse(ca, leaf, { responseStatus: 3 }));
