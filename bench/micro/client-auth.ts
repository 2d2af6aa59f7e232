/** What is read of a client's certificate, and what precedes the handshake of a PostgreSQL client. */
import { X509Certificate } from 'node:crypto';
import type { Bench } from 'tinybench';
import { readPreamble, sslRequest } from '../../src/protocols/postgres/preamble.ts';
import { compileRules } from '../../src/tls/client-auth/client-rules.ts';
import { createCertificateChooser } from '../../src/tls/server/certificates.ts';
import { createCa, issue } from '../../src/tools/pki/issue.ts';
import { readCertificate } from '../../src/x509/certificate-names.ts';

const ca = await createCa({ cn: 'bench CA' });
const { cert } = await issue(ca, {
  cn: 'orders-app',
  dns: ['app.orders.example.com'],
  uri: ['spiffe://example.com/orders/api'],
  usage: 'client',
});
const leaf = new X509Certificate(cert);
const names = readCertificate(leaf.raw)!; // our own, just made
const matches = compileRules([
  { uri: 'spiffe://example.com/payments/*' },
  { dns: '*.orders.example.com', cn: 'another-app' },
  { uri: 'spiffe://example.com/orders/*' },
]);
const choose = createCertificateChooser(Array.from({ length: 100 }, () => ({ pairs: [{ leaf }] })));

/** Adds the tasks of this file. */
export function addTo(bench: Bench): void {
  bench
    .add('client certificate: names', () => void readCertificate(leaf.raw))
    .add('client certificate: three rules', () => void matches(names, 'sha256:none'))
    .add('certificate for a name, of 100', () => void choose('app.orders.example.com'))
    .add('PostgreSQL preamble', () => void readPreamble(sslRequest));
}
