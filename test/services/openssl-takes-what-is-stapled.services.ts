/**
 * Responses made by `openssl ocsp` are read, warned about where they say "revoked", and stapled; `openssl s_client -status`
 * gets the one of the key that it is shown, as it was made, in TLS 1.2 and 1.3.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { loadConfig } from '../../src/config/sources/file.ts';
import { type Credential, createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { echoUpstream } from '../support/clients.ts';
import { startProxy } from '../support/proxy.ts';
import { opensslOcsp } from './openssl-ocsp.ts';
import { run } from './process.ts';

test('openssl ocsp and s_client -status', async (t) => {
  const scene = await prepare(t);
  const responses = { ec: await scene.respond('ec', 'V'), rsa: await scene.respond('rsa', 'V') };
  const upstream = await echoUpstream(t);
  const proxy = await startProxy(t, configuration(upstream.port), { ...scene.files, ...responses });

  for (const version of ['1.2', '1.3']) {
    for (const key of ['ec', 'rsa'] as const) {
      await t.test(`TLS ${version}, a client of ${key} keys`, async () => {
        const sigalgs = { ec: 'ECDSA+SHA256', rsa: 'RSA-PSS+SHA256:RSA+SHA256' }[key];
        const args = ['-connect', `127.0.0.1:${proxy.port()}`, '-servername', 'db.example', '-status'];
        args.push(`-tls${version.replace('.', '_')}`, '-sigalgs', sigalgs);
        args.push('-CAfile', scene.path('ca.crt'), '-verify_return_error');
        const { stdout, stderr, code } = await run('openssl', ['s_client', ...args]);
        assert.equal(code, 0, stdout + stderr);
        assert.match(stdout, /OCSP Response Status: successful/);
        assert.match(stdout, /Cert Status: good/);
        // Compared as printed: s_client has no way to save it.
        const staple = scene.path(`${key}.staple`);
        writeFileSync(staple, responses[key]);
        const printed = await run('openssl', ['ocsp', '-respin', staple, '-resp_text', '-noverify']);
        const serial = /Serial Number: (\w+)/;
        assert.equal(serial.exec(stdout)?.[1], serial.exec(printed.stdout)?.[1]);
        const signature = /Signature Value:\s+([0-9a-f:\s]+)/;
        const words = (text: string) => signature.exec(text)?.[1]?.replace(/\s/g, '');
        assert.ok(words(stdout));
        assert.equal(words(stdout), words(printed.stdout));
      });
    }
  }

  await t.test('after a HelloRetryRequest', async () => {
    const { listeners, ...rest } = configuration(upstream.port);
    const route = { ...listeners.one.routes[0], tls: { certificates: 'db', groups: ['P-384'] } };
    const strict = { ...rest, listeners: { one: { routes: [route] } } };
    const { port } = await startProxy(t, strict, { ...scene.files, ...responses });
    const args = ['s_client', '-connect', `127.0.0.1:${port()}`, '-servername', 'db.example'];
    const { stdout } = await run('openssl', [...args, '-status', '-tls1_3']);
    // A hello that is answered by a HelloRetryRequest is sent a second time.
    assert.match(stdout, /Server Temp Key: ECDH, (P-384|secp384r1)/);
    assert.match(stdout, /OCSP Response Status: successful/);
  });

  await t.test('a revoked one is none', async () => {
    const revoked = { ...responses, ec: await scene.respond('ec', 'R') };
    writeFiles(proxy.directory, revoked);
    const { warnings, certificates } = await loadConfig(join(proxy.directory, 'penstock.yaml'));
    assert.deepEqual(
      warnings.map(({ path, message }) => `${path}: ${message}`),
      [
        'certificates.db.pairs[0].ocsp: the OCSP response says that the certificate is revoked, so it is not stapled',
      ],
    );
    assert.deepEqual(
      certificates.get('db')?.pairs.map(({ staple }) => staple !== undefined),
      [false, true],
    );
  });
});

function configuration(upstreamPort: number) {
  return {
    certificates: {
      db: {
        pairs: ['ec', 'rsa'].map((key) => ({ cert: `${key}.crt`, key: `${key}.key`, ocsp: key })),
      },
    },
    listeners: { one: { routes: [{ tls: { certificates: 'db' }, upstream: 'echo' }] } },
    upstreams: { echo: { endpoints: [`127.0.0.1:${upstreamPort}`] } },
  };
}

/** A CA, and two certificates of the same name. */
async function prepare(t: TestContext) {
  const ca = await createAuthority({ name: 'Server CA' });
  const leaves: Record<'ec' | 'rsa', Credential> = {
    ec: await ca.issue({ dns: ['db.example'], cn: 'db' }),
    rsa: await ca.issue({ dns: ['db.example'], cn: 'db', keyType: 'rsa' }),
  };
  const directory = temporaryDirectory(t);
  const path = (name: string) => join(directory, name);
  const files = {
    'ec.crt': leaves.ec.cert,
    'ec.key': leaves.ec.key,
    'rsa.crt': leaves.rsa.cert,
    'rsa.key': leaves.rsa.key,
  };
  writeFiles(directory, { 'ca.crt': ca.cert });
  return {
    files,
    path,
    respond: (key: 'ec' | 'rsa', state: 'V' | 'R') => opensslOcsp(t, ca, leaves[key], state),
  };
}
