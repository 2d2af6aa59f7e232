/** OCSP responses as `openssl ocsp`, a responder of its own, makes them. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Credential, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { run } from './process.ts';

/** What the CA says of a certificate that is valid (V) or revoked (R); verified by openssl itself. */
export async function opensslOcsp(
  t: Pick<TestContext, 'after'>,
  ca: Pick<Credential, 'cert' | 'key'>,
  leaf: Credential,
  state: 'V' | 'R',
): Promise<Buffer> {
  const directory = temporaryDirectory(t);
  const path = (name: string) => join(directory, name);
  const revokedAt = state === 'R' ? '250101000000Z' : '';
  writeFiles(directory, {
    'ca.crt': ca.cert,
    'ca.key': ca.key,
    'leaf.crt': leaf.cert,
    // OpenSSL's database of one line, by tabs.
    index: `${state}\t491231235959Z\t${revokedAt}\t${leaf.serial}\tunknown\t/CN=db\n`,
  });
  const about = ['-issuer', path('ca.crt'), '-cert', path('leaf.crt')];
  const asked = await run('openssl', ['ocsp', ...about, '-no_nonce', '-reqout', path('request')]);
  assert.equal(asked.code, 0, asked.stderr);
  const signer = ['-index', path('index'), '-CA', path('ca.crt'), '-rsigner', path('ca.crt')];
  const files = ['-reqin', path('request'), '-respout', path('response'), '-rkey', path('ca.key')];
  const made = await run('openssl', ['ocsp', ...signer, ...files, '-ndays', '7']);
  assert.equal(made.code, 0, made.stderr);
  const response = ['-respin', path('response'), ...about, '-CAfile', path('ca.crt')];
  const verified = await run('openssl', ['ocsp', ...response]);
  assert.match(verified.stderr + verified.stdout, /Response verify OK/);
  return readFileSync(path('response'));
}
