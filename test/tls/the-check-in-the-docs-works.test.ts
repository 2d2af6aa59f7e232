/**
 * The example of docs/security.md is a check that works as it stands: those on call come in at any time, the others of the CA
 * in office hours, nobody else ever.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createAuthorizer } from '../../src/tls/client-auth/authorize.ts';
import type { ClientCertificate, ClientIdentity } from '../../src/tls/client-auth/client-identity.ts';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/security.md'), 'utf8');
const example = /```ts\n\/\/ only-office-hours\.ts\n(.*?)```/s.exec(page)?.[1] ?? '';

const certificate: ClientCertificate = {
  fingerprint: '00',
  spki: 'sha256:AA==',
  verifiedBy: 'authority',
  uris: ['spiffe://example.com/people/joan'],
  pem: '',
};

function client(certificate: ClientCertificate | undefined): ClientIdentity {
  return { listener: 'databases', route: 0, client: { address: '192.0.2.1', port: 1 }, certificate };
}

function isOfficeHour(): boolean {
  const now = new Date();
  return now.getUTCDay() % 6 !== 0 && now.getUTCHours() >= 7 && now.getUTCHours() < 18;
}

test('the example of docs/security.md', async (t) => {
  const directory = temporaryDirectory(t);
  const { 'only-office-hours.ts': path } = writeFiles(directory, { 'only-office-hours.ts': example });
  const { check, close, ready } = createAuthorizer(path);
  t.after(close);
  await ready();
  await check(client({ ...certificate, uris: ['spiffe://example.com/people/ada'] }));
  await assert.rejects(check(client(undefined)), /denied the client: no certificate of our CA/);
  const pinned: ClientCertificate = {
    ...certificate,
    uris: ['spiffe://example.com/people/ada'],
    verifiedBy: 'pin',
  };
  await assert.rejects(check(client(pinned)), { code: 'ERR_AUTHORIZE_DENIED' });
  const isOpen = isOfficeHour();
  const outcome = await check(client(certificate)).then(
    () => 'let in',
    (error) => error.message,
  );
  // Unless the hour has just struck.
  if (isOpen === isOfficeHour()) {
    assert.match(outcome, isOpen ? /^let in$/ : /192\.0\.2\.1 came outside office hours$/);
  }
});
